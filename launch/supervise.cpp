#include "launch/supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "launch/last_words.h"
#include "launch/process.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

constexpr std::array<int, 4> kStops{SIGTERM, SIGINT, SIGUSR1, SIGHUP};

// Bytes go to the terminal as long as there is one, and into the log.
class Output {
 public:
  explicit Output(const fs::path& log) : log_(log) {
    core::make_folders(log.parent_path());
    descriptor_ = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ < 0) core::fail_errno("can't write the log", log.string(), errno);
  }
  ~Output() { ::close(descriptor_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(int to, const char* bytes, size_t size) {
    put(to, bytes, size);
    put(descriptor_, bytes, size);
  }
  void say(const std::string& line) {
    const std::string text = "== hone launch: " + line + "\n";
    write(2, text.data(), text.size());
  }

 private:
  // A terminal that is gone or a full disk must not end the ranks.
  static void put(int to, const char* bytes, size_t size) {
    while (size > 0) {
      const ssize_t n = ::write(to, bytes, size);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      bytes += n;
      size -= static_cast<size_t>(n);
    }
  }
  fs::path log_;
  int descriptor_ = -1;
};

struct Child {
  pid_t pid = 0;
  int out = -1, err = -1;  // what it says
  ~Child() {
    if (out >= 0) ::close(out);
    if (err >= 0) ::close(err);
  }
};

[[noreturn]] void become(const MpirunCommand& command, const fs::path& folder, const sigset_t& mask,
                         pid_t parent) {
  ::setpgid(0, 0);  // Ctrl-C reaches this program alone, which asks for an orderly stop
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(128 + SIGTERM);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  for (const auto& [name, value] : command.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& word : command.words)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  if (::chdir(folder.c_str()) == 0) ::execvp(arguments[0], arguments.data());
  std::fprintf(stderr, "can't start %s in %s: %s\n", arguments[0], folder.c_str(),
               std::strerror(errno));
  ::_exit(kNoSuchProgram);
}

void start(const MpirunCommand& command, const fs::path& folder, const sigset_t& mask,
           Child& child) {
  std::array<int, 2> out{-1, -1}, err{-1, -1};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0)
    core::fail_errno("can't make a pipe", "pipe", errno);
  child.out = out[0];
  child.err = err[0];
  const pid_t parent = ::getpid();
  child.pid = ::fork();
  if (child.pid < 0) core::fail_errno("can't start a process", command.words.front(), errno);
  if (child.pid == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    become(command, folder, mask, parent);
  }
  ::close(out[1]);
  ::close(err[1]);
}

void ask_to_stop(pid_t pid, int how_often) {
  // mpirun passes SIGUSR1 on and waits; at SIGTERM it ends the ranks.
  if (how_often == 1) {
    ::kill(pid, SIGUSR1);
  } else {
    ::kill(how_often == 2 ? pid : -pid, how_often == 2 ? SIGTERM : SIGKILL);
  }
}

void pass_on(const std::array<pollfd, 3>& waits, Child& child, Output& output,
             std::array<LastWords, 2>& last_words) {
  std::array<char, 1 << 16> buffer{};
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (waits[i].fd < 0 || waits[i].revents == 0) continue;
    const ssize_t n = ::read(waits[i].fd, buffer.data(), buffer.size());
    if (n > 0) {
      output.write(static_cast<int>(i), buffer.data(), static_cast<size_t>(n));
      last_words[i - 1].read({buffer.data(), static_cast<size_t>(n)});
    } else if (n == 0 || errno != EINTR) {
      int& end = i == 1 ? child.out : child.err;
      ::close(end);
      end = -1;
    }
  }
}

// mpirun ends soon after its ranks, but waits without end for a host that is cut off. The exit code
// that the ranks gave, once that has taken too long.
std::optional<int> overdue(const std::array<LastWords, 2>& last_words, int64_t survivor_seconds) {
  const auto patience = std::chrono::seconds(2 * survivor_seconds + 10);
  std::optional<int> code;
  for (const LastWords& words : last_words) {
    if (words.exit_code() && words.age() < patience) return std::nullopt;
    if (words.exit_code()) code = words.exit_code();
  }
  return code;
}

// Until the child has ended and its output is read; who it leaves behind with its output open is
// not waited for.
// `survivor_seconds`: nothing where it is no mpirun that is watched.
int watch(Child& child, StopRequests& stops, Output& output,
          std::optional<int64_t> survivor_seconds) {
  int status = 0;
  std::array<LastWords, 2> last_words;
  std::optional<int> given_up;
  for (bool has_ended = false; !has_ended || child.out >= 0 || child.err >= 0;) {
    std::array<pollfd, 3> waits{
        {{stops.descriptor(), POLLIN, 0}, {child.out, POLLIN, 0}, {child.err, POLLIN, 0}}};
    const int ready = ::poll(waits.data(), waits.size(), has_ended ? 500 : 100);
    if (ready == 0 && has_ended) break;
    if (stops.take() > 0 && !has_ended) {
      output.say(stops.count() == 1 ? "asked to stop: the ranks write a checkpoint"
                                    : "asked to stop again: the ranks are ended");
      ask_to_stop(child.pid, stops.count());
    }
    pass_on(waits, child, output, last_words);
    if (!has_ended) has_ended = ::waitpid(child.pid, &status, WNOHANG) == child.pid;
    if (has_ended || given_up || !survivor_seconds) continue;
    given_up = overdue(last_words, *survivor_seconds);
    if (!given_up) continue;
    output.say("the ranks have ended and mpirun has not: a host may be cut off. mpirun is ended");
    for (const pid_t pid : process_tree(child.pid)) ::kill(pid, SIGKILL);
  }
  return given_up.value_or(exit_code_of(status));
}

bool can_go_on(int code) {
  return code == static_cast<int>(ErrorKind::kStoppedEarly) ||
         code == static_cast<int>(ErrorKind::kPeerLost);
}

bool has_newer_checkpoint(const fs::path& output_dir, fs::file_time_type than) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(output_dir, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("checkpoint-") && name.find(".tmp") == std::string::npos &&
        fs::last_write_time(entry.path(), error) > than)
      return true;
  }
  return false;
}

}  // namespace

StopRequests::StopRequests() {
  sigset_t mask{};
  sigemptyset(&mask);
  for (const int number : kStops) sigaddset(&mask, number);
  ::sigprocmask(SIG_BLOCK, &mask, &earlier_);
  descriptor_ = ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ < 0) core::fail_errno("can't watch for signals", "signalfd", errno);
}

StopRequests::~StopRequests() {
  ::close(descriptor_);
  ::sigprocmask(SIG_SETMASK, &earlier_, nullptr);
}

int StopRequests::take() {
  int taken = 0;
  signalfd_siginfo info{};
  while (::read(descriptor_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) ++taken;
  count_ += taken;
  return taken;
}

int run_exit_code(int code, bool was_asked, bool under_mpirun) {
  if (was_asked) return code;
  if (code > 128) return static_cast<int>(ErrorKind::kPeerLost);
  // No rank ends with 1: it is mpirun's own.
  if (code == kNoSuchProgram || (under_mpirun && code == 1))
    return static_cast<int>(ErrorKind::kUnavailable);
  return code;
}

namespace {

class Supervisor {
 public:
  Supervisor(const Supervision& supervision, RunRecord record)
      : s_(supervision), record_(std::move(record)), output_(record_.log) {}

  int run() {
    int first_failure = 0;
    for (const Point& point : s_.job.points) {
      const int code = run_point(point);
      if (first_failure == 0) first_failure = code;
      if (stops_.count() > 0) break;
    }
    record_.exit_code = first_failure;
    record_.ended = utc_now();
    s_.on_change(record_);
    return first_failure;
  }

 private:
  int run_point(const Point& point) {
    if (s_.job.is_sweep()) output_.say("run " + point.output_dir.string());
    const auto begin = fs::file_time_type::clock::now();
    Start how = s_.job.start;
    for (int64_t restarts = 0;; ++restarts) {
      const int code = run_once(mpirun_command(s_.cluster, s_.job, point, how, s_.forwarded));
      if (code == 0 || stops_.count() > 0 || !can_go_on(code)) return code;
      if (restarts >= s_.cluster.max_restarts) {
        if (s_.cluster.max_restarts > 0)
          output_.say("no restart is left of " + std::to_string(s_.cluster.max_restarts));
        return code;
      }
      // What was to be overwritten and may still be there is not gone on with.
      const bool may_be_old =
          s_.job.start == Start::kOverwrite && !has_newer_checkpoint(point.output_dir, begin);
      how = may_be_old ? Start::kOverwrite : Start::kResume;
      ++record_.restarts;
      output_.say("exit code " + std::to_string(code) + ": restart " +
                  std::to_string(restarts + 1) + " of " + std::to_string(s_.cluster.max_restarts));
    }
  }

  int run_once(const MpirunCommand& command) {
    record_.command = command_text(command);
    s_.on_change(record_);
    output_.say(record_.command);
    Child child;
    start(command, s_.job.working_folder, stops_.earlier_mask(), child);
    const bool is_mpirun = needs_mpirun(s_.cluster);
    const int code =
        watch(child, stops_, output_,
              is_mpirun ? std::optional(s_.cluster.mpirun.survivor_seconds) : std::nullopt);
    const int meaning = run_exit_code(code, stops_.count() > 0, is_mpirun);
    if (meaning != code) {
      output_.say("exit code " + std::to_string(code) + " of " + command.words.front() +
                  (meaning == static_cast<int>(ErrorKind::kPeerLost)
                       ? ": a rank was ended by a signal"
                       : ": the ranks could not be started, its message is above"));
    }
    return meaning;
  }

  const Supervision& s_;
  RunRecord record_;
  StopRequests stops_;
  Output output_;
};

}  // namespace

int supervise(const Supervision& supervision, RunRecord record) {
  ::signal(SIGPIPE, SIG_IGN);  // NOLINT(bugprone-signal-handler): the log goes on without a reader
  return Supervisor(supervision, std::move(record)).run();
}

}  // namespace hone::launch
