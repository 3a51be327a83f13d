#include "launch/last_words.h"

#include <charconv>

namespace hone::launch {

void LastWords::read(std::string_view bytes) {
  constexpr size_t kEnough = 256;  // of a line
  for (const char c : bytes) {
    if (c == '\n') {
      read_line();
      line_.clear();
    } else if (line_.size() < kEnough) {
      line_ += c;
    }
  }
}

void LastWords::read_line() {
  constexpr std::string_view kTag = ">:", kFatal = "FATAL ", kRank = " rank=";
  std::string_view line = line_;
  if (line.starts_with('[') && line.find(kTag) != std::string_view::npos)
    line.remove_prefix(line.find(kTag) + kTag.size());
  if (!line.starts_with(kFatal)) return;
  line.remove_prefix(kFatal.size());
  int code = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), code);
  line.remove_prefix(static_cast<size_t>(end - line.data()));
  if (error != std::errc() || !line.starts_with(kRank)) return;
  code_ = code;
  when_ = std::chrono::steady_clock::now();
}

std::chrono::milliseconds LastWords::age() const {
  if (!code_) return {};
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               when_);
}

}  // namespace hone::launch
