// Ranks that watch each other. A collective can't name the rank it waits for, and under mpirun the
// end of one process ends the others without a word: here every rank tells its peers over TCP, a
// few times a second, that it lives and what it does, from a thread of its own. A rank that
// computes or waits for long goes on telling; one that is killed, stopped or cut off does not.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/flight_record.h"
#include "parallel/liveness/meet.h"

namespace hone::parallel {

struct HeartbeatOptions {
  int rank = 0;
  // From the last sign of life of a rank to where all the others have named it.
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  std::shared_ptr<FlightRecord> record;  // what this rank tells of itself
  // Called once, on the watching thread, with the ranks that are lost: the first one first.
  std::function<void(const std::vector<Loss>&)> on_loss;
  // Called after it, when the others have had time to notice too: ends the process.
  std::function<void(const std::vector<Loss>&)> leave;
};

class Heartbeat {
 public:
  Heartbeat(std::map<int, Link>&& links, HeartbeatOptions options);
  // Without goodbye() or fail() the others take this rank for lost.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // An orderly end, which is not a loss. Returns when the others know, or after 300 ms; where a
  // loss has been noticed meanwhile, when `leave` has.
  void goodbye();
  // This rank ends by an error that the others do not know of; they will, and take its exit code.
  void fail(int exit_code, const std::string& what);
  // Waits until a loss has been noticed, and then for `leave`; false after the time without one.
  bool wait_for_loss(std::chrono::milliseconds time);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Command { kNone, kStop, kGoodbye, kFail };

  struct Peer {
    int rank = -1;
    Link link;
    std::string outgoing;
    Clock::time_point last_heard;
    FlightStatus last;
    bool has_left = false;  // said goodbye, or that it is about to leave because of a loss

    bool is_watched() const { return link.socket.is_open() && !has_left; }
  };

  void run();
  void turn(Clock::time_point until);
  void watch();
  void read(Peer& peer);
  void take(Peer& peer, const PeerMessage& message);
  void queue(const PeerMessage& message);
  static void flush(Peer& peer);
  void beat();
  void check_silence();
  void lose(Loss loss);
  void end_with_loss();
  void say_goodbye();
  void drain(std::chrono::milliseconds time, const std::function<bool(const Peer&)>& is_wanted);
  void command(Command command);

  const HeartbeatOptions options_;
  const std::chrono::milliseconds interval_, silence_;
  std::vector<Peer> peers_;
  std::vector<Loss> losses_;
  Clock::time_point next_beat_, last_turn_, report_at_;
  Socket wake_;  // an event of this process
  std::atomic<Command> command_{Command::kNone};
  std::atomic<bool> is_losing_{false};
  std::mutex failure_mutex_;
  Loss failure_;  // of this rank
  std::thread thread_;
};

}  // namespace hone::parallel
