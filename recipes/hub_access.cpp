#include "recipes/hub_access.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "core/text.h"
#include "hub/remote.h"
#include "hub/store.h"

namespace hone::recipes {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kTerminalSeconds = 0.2;
constexpr double kLogSeconds = 10;

bool is_url(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

std::string bytes_text(uint64_t bytes) { return core::format_bytes(static_cast<double>(bytes)); }

struct Line {
  Clock::time_point start = Clock::now(), last = start;
  uint64_t last_network = 0;
  bool is_terminal = ::isatty(STDERR_FILENO) != 0;

  void show(const hub::PullState& state) {
    const Clock::time_point now = Clock::now();
    if (state.network_bytes < last_network) start = now;  // the next lot of files
    last_network = state.network_bytes;
    const bool is_end = state.num_done == state.num_files;
    const double since = std::chrono::duration<double>(now - last).count();
    if (!is_end && since < (is_terminal ? kTerminalSeconds : kLogSeconds)) return;
    last = now;
    const std::string text =
        download_text(state, std::chrono::duration<double>(now - start).count());
    if (is_terminal) {
      std::fprintf(stderr, "\rdownloading %s\033[K%s", text.c_str(), is_end ? "\n" : "");
    } else {
      spdlog::info("downloading {}", text);
    }
  }
};

}  // namespace

std::string download_text(const hub::PullState& state, double seconds) {
  const double percent = state.total_bytes == 0 ? 100
                                                : 100 * static_cast<double>(state.done_bytes) /
                                                      static_cast<double>(state.total_bytes);
  char text[16];
  std::snprintf(text, sizeof text, " (%.0f %%)", percent);
  std::string line = std::to_string(state.num_done) + " of " + std::to_string(state.num_files) +
                     (state.num_files == 1 ? " file, " : " files, ") +
                     bytes_text(state.done_bytes) + " of " + bytes_text(state.total_bytes) + text;
  if (state.network_bytes == 0 || seconds <= 0) return line;
  const double rate = static_cast<double>(state.network_bytes) / seconds;
  line += ", " + core::format_bytes(rate) + "/s";
  if (state.done_bytes < state.total_bytes) {
    const auto left = static_cast<double>(state.total_bytes - state.done_bytes);
    line += ", " + core::format_duration(left / rate) + " left";
  }
  return line;
}

hub::PullProgress download_line() {
  const auto line = std::make_shared<Line>();
  return [line](const hub::PullState& state) { line->show(state); };
}

hub::ResolveOptions hub_access(const std::string& endpoint) {
  hub::ResolveOptions options;
  const std::string asked = is_url(endpoint) ? endpoint : hub::default_endpoint();
  options.connect = [asked] { return hub::connect_for_reading(asked); };
  options.pull.progress = download_line();
  if (!endpoint.empty() && !is_url(endpoint)) {
    options.store = hub::LocalStore::at_endpoint(endpoint).root();
  }
  return options;
}

}  // namespace hone::recipes
