#include "trainer/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/log.h"
#include "core/text.h"

namespace hone::trainer {
namespace {

constexpr size_t kBarWidth = 24;
constexpr std::chrono::milliseconds kRedrawInterval{100};

std::string bar(double fraction) {
  std::string text(kBarWidth, ' ');
  const auto filled = static_cast<size_t>(std::clamp(fraction, 0.0, 1.0) * kBarWidth);
  std::fill_n(text.begin(), std::min(filled, text.size()), '#');
  return "[" + text + "]";
}

}  // namespace

Progress::Progress(int64_t first_step, int64_t max_steps, bool speaks)
    : speaks_(speaks),
      on_terminal_(speaks && ::isatty(STDERR_FILENO) != 0),
      first_step_(first_step),
      max_steps_(max_steps),
      start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (bar_visible_) std::fputc('\n', stderr);
}

std::string Progress::time_left(int64_t step) const {
  if (step <= first_step_) return "?";
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  const double a_step = passed.count() / static_cast<double>(step - first_step_);
  return core::format_duration(a_step * static_cast<double>(max_steps_ - step));
}

void Progress::draw(const std::string& text) {
  // \r and "erase to end of line": the bar is redrawn in place.
  std::fprintf(stderr, "\r%s\x1b[K", text.c_str());
  std::fflush(stderr);
  bar_visible_ = true;
  last_drawn_ = std::chrono::steady_clock::now();
}

void Progress::step_done(int64_t step, double loss, double tokens_per_second) {
  if (!on_terminal_) return;
  if (step < max_steps_ && std::chrono::steady_clock::now() - last_drawn_ < kRedrawInterval) return;
  const double fraction =
      static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, max_steps_));
  draw(fmt::format("{} {}/{}  loss {:.4f}  {:.0f} tokens/s  {} left", bar(fraction), step,
                   max_steps_, loss, tokens_per_second, time_left(step)));
}

void Progress::evaluating(double fraction) {
  if (!on_terminal_) return;
  if (fraction < 1 && std::chrono::steady_clock::now() - last_drawn_ < kRedrawInterval) return;
  draw(fmt::format("{} evaluating", bar(fraction)));
}

void Progress::row_logged(const TrainRow& row) {
  if (on_terminal_ || !speaks_) return;
  const std::string share =
      row.flops_share > 0 ? fmt::format(" ({:.0f} % of the GEMM rate)", 100 * row.flops_share) : "";
  spdlog::info("step {}/{}  loss {:.4f}  lr {:.3g}  grad norm {:.3g}  {:.0f} tokens/s{}  {} left",
               row.step, max_steps_, row.loss, row.learning_rate, row.grad_norm,
               row.tokens_per_second, share, time_left(row.step));
}

void Progress::message(const std::string& text) {
  if (!speaks_) return;
  if (bar_visible_) std::fputs("\r\x1b[K", stderr);
  bar_visible_ = false;
  spdlog::info("{}", text);
}

}  // namespace hone::trainer
