// Processes: short commands whose answer is read, and who is still there.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hone::launch {

inline constexpr int kNoSuchProgram = 127;

struct Captured {
  int code = 0;  // exit code, or 128 + signal; kNoSuchProgram when it can't be started
  std::string out, err;
};

// Runs a command of PATH without input and reads what it says. Throws kIo when there can be no
// process.
Captured run_captured(const std::vector<std::string>& words);

// Exit code of a status of waitpid: 128 + signal for who was ended by one.
int exit_code_of(int status);

// Whether a command of this name is on PATH.
bool is_on_path(const std::string& program);

// When a process began, in clock ticks since the machine did: with its id it names one process
// only. 0: no such process.
int64_t process_start(pid_t pid);

// Whether the process that began then still runs (a zombie does not).
bool process_lives(pid_t pid, int64_t start);

// Everything that was started below it and has not lost its parent; the process itself is last.
std::vector<pid_t> process_tree(pid_t pid);

// "2026-01-31T12:00:00Z"
std::string utc_now();

}  // namespace hone::launch
