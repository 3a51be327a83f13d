// Which cores a process may use, and what that means for ranks that share a machine.
#pragma once

#include <string>
#include <vector>

namespace hone::launch {

// The cores this process may run on, ascending.
std::vector<int> allowed_cores();

// "0-3,8"; and back. Text that is no such list gives an empty one.
std::string cores_text(const std::vector<int>& cores);
std::vector<int> cores_of_text(const std::string& text);

struct RankPlace {
  std::string host;
  std::string cores;  // cores_text
  int threads = 0;
};

// Threads that rank `rank` can use without taking from others: its cores over the ranks of its
// machine that may run on any of them. At least 1.
int fair_threads(const std::vector<RankPlace>& places, size_t rank);

// What is printed at the start of a run, a line a machine: "node07: ranks 0-3 share cores 0-15, 4
// threads each", "node07: ranks 0 1 on cores 0-7 8-15, 8 threads each".
std::vector<std::string> binding_lines(const std::vector<RankPlace>& places);

}  // namespace hone::launch
