// Ranks that watch each other, as threads or as processes of a test.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "parallel/liveness/heartbeat.h"

namespace hone::parallel {

using namespace std::chrono_literals;

inline std::vector<std::unique_ptr<Listener>> listeners(int num_ranks) {
  std::vector<std::unique_ptr<Listener>> all;
  for (int rank = 0; rank < num_ranks; ++rank)
    all.push_back(std::make_unique<Listener>(ListenOptions{.one_machine = true}));
  return all;
}

inline Meeting meeting_of(int rank, const std::vector<std::unique_ptr<Listener>>& all) {
  Meeting meeting{.rank = rank, .secret = "between us"};
  for (const auto& listener : all) meeting.ranks.push_back(listener->endpoint());
  return meeting;
}

// Processes that do nothing but watch each other. What they print of losses is read by rank.
class PeerProcesses {
 public:
  // `main` is called in a rank that is connected, and should wait for its end.
  PeerProcesses(int num_ranks, std::chrono::milliseconds timeout,
                const std::function<void(int rank, Heartbeat&)>& main = {})
      : num_ranks_(num_ranks) {
    const auto all = listeners(num_ranks);
    for (int rank = 0; rank < num_ranks; ++rank) {
      int ends[2] = {-1, -1};
      EXPECT_EQ(::pipe(ends), 0);
      const pid_t pid = ::fork();
      if (pid == 0) live(rank, all, timeout, main, ends[1]);
      ::close(ends[1]);
      outputs_.push_back(ends[0]);
      pids_.push_back(pid);
    }
    for (int rank = 0; rank < num_ranks; ++rank) EXPECT_EQ(read_line(rank), "ready");
  }

  ~PeerProcesses() {
    for (const pid_t pid : pids_) {
      if (pid > 0) ::kill(pid, SIGKILL);
    }
    for (int rank = 0; rank < num_ranks_; ++rank) exit_code(rank);
    for (const int output : outputs_) ::close(output);
  }
  PeerProcesses(const PeerProcesses&) = delete;
  PeerProcesses& operator=(const PeerProcesses&) = delete;

  void signal(int rank, int number) { ::kill(pids_[static_cast<size_t>(rank)], number); }

  // "" where it ended without one, or says nothing for 10 s.
  std::string read_line(int rank) {
    std::string line;
    char c = 0;
    pollfd wait{outputs_[static_cast<size_t>(rank)], POLLIN, 0};
    while (::poll(&wait, 1, 10'000) > 0 && ::read(wait.fd, &c, 1) == 1 && c != '\n') line += c;
    return line;
  }

  // Waits for its end; 128 + signal.
  int exit_code(int rank) {
    pid_t& pid = pids_[static_cast<size_t>(rank)];
    if (pid <= 0) return -1;
    int status = 0;
    ::waitpid(pid, &status, 0);
    pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  static std::string text_of(const std::vector<Loss>& losses) {
    std::ostringstream text;
    for (const Loss& loss : losses) {
      text << (loss.kind == LossKind::kClosed   ? "closed "
               : loss.kind == LossKind::kSilent ? "silent "
                                                : "failed ")
           << loss.rank << " " << describe(loss.last.action) << "; ";
    }
    return text.str();
  }

  [[noreturn]] static void live(int rank, const std::vector<std::unique_ptr<Listener>>& all,
                                std::chrono::milliseconds timeout,
                                const std::function<void(int, Heartbeat&)>& main, int output) {
    const auto say = [output](const std::string& line) {
      if (::write(output, (line + "\n").data(), line.size() + 1) < 0) ::_exit(9);
    };
    const auto record = std::make_shared<FlightRecord>();
    record->begin_action("work of rank " + std::to_string(rank));
    Met met = meet(*all[static_cast<size_t>(rank)], meeting_of(rank, all));
    if (!met.missing.empty()) ::_exit(8);
    Heartbeat heartbeat(
        std::move(met.links),
        {.rank = rank,
         .timeout = timeout,
         .record = record,
         .on_loss = [&](const std::vector<Loss>& losses) { say(text_of(losses)); },
         .leave = [](const std::vector<Loss>& losses) { ::_exit(losses.front().exit_code); }});
    std::this_thread::sleep_for(100ms);  // some beats
    say("ready");
    if (main) {
      main(rank, heartbeat);
    } else {
      for (;;) ::pause();
    }
    ::_exit(0);
  }

  const int num_ranks_;
  std::vector<pid_t> pids_;
  std::vector<int> outputs_;
};

}  // namespace hone::parallel
