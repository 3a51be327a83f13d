// What ranks say when they end by an error: "FATAL 76 rank=1 ...".
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace hone::launch {

// Reads the output of ranks as it comes. mpirun tags lines with the rank if it is told to.
class LastWords {
 public:
  void read(std::string_view bytes);
  std::optional<int> exit_code() const { return code_; }  // of the last rank that said so
  // Since the last of them said so; zero before.
  std::chrono::milliseconds age() const;

 private:
  void read_line();
  std::string line_;
  std::optional<int> code_;
  std::chrono::steady_clock::time_point when_;
};

}  // namespace hone::launch
