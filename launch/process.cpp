#include "launch/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace hone::launch {
namespace {

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) core::fail_errno("can't make a pipe", "pipe", errno);
    read_end = ends[0];
    write_end = ends[1];
  }
  void close_write() {
    if (write_end >= 0) ::close(write_end);
    write_end = -1;
  }
  ~Pipe() {
    close_write();
    if (read_end >= 0) ::close(read_end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

// False at the end.
bool take(int descriptor, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t n = ::read(descriptor, buffer.data(), buffer.size());
  if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

// The fields of /proc/PID/stat after the name, which may hold spaces and brackets itself.
std::vector<std::string> stat_fields(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t end = text.rfind(')');
  std::vector<std::string> fields;
  if (end == std::string::npos) return fields;
  std::istringstream rest(text.substr(end + 1));
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

}  // namespace

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Captured run_captured(const std::vector<std::string>& words) {
  Pipe out, err;
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) core::fail_errno("can't start a process", words.front(), errno);
  if (child == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(out.write_end, 1);
    ::dup2(err.write_end, 2);
    ::execvp(arguments[0], arguments.data());
    ::_exit(kNoSuchProgram);
  }
  out.close_write();
  err.close_write();
  Captured captured;
  std::array<pollfd, 2> waits{{{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}}};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) break;
    if (waits[0].revents != 0 && !take(out.read_end, captured.out)) waits[0].fd = -1;
    if (waits[1].revents != 0 && !take(err.read_end, captured.err)) waits[1].fd = -1;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  captured.code = exit_code_of(status);
  return captured;
}

bool is_on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::filesystem::path file = std::filesystem::path(folder) / program;
    if (::access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

int64_t process_start(pid_t pid) {
  constexpr size_t kStartTime = 19;  // field 22 of proc(5), of which 2 stand before
  const std::vector<std::string> fields = stat_fields(pid);
  return fields.size() > kStartTime ? std::atoll(fields[kStartTime].c_str()) : 0;
}

bool process_lives(pid_t pid, int64_t start) {
  const std::vector<std::string> fields = stat_fields(pid);
  return !fields.empty() && fields[0] != "Z" && fields[0] != "X" && process_start(pid) == start;
}

std::vector<pid_t> process_tree(pid_t pid) {
  std::vector<pid_t> tree;
  std::error_code gone;
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) {
      const std::vector<pid_t> below = process_tree(child);
      tree.insert(tree.end(), below.begin(), below.end());
    }
  }
  tree.push_back(pid);
  return tree;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace hone::launch
