// Runs ranks under mpirun to their end: their output goes to the terminal and into the log, signals
// become an orderly stop, and what can go on is started again.
#pragma once

#include <csignal>
#include <functional>

#include "launch/mpirun_line.h"
#include "launch/run_record.h"

namespace hone::launch {

// While it lives, SIGTERM, SIGINT, SIGUSR1 and SIGHUP end nothing but are counted. They stay
// blocked for this thread; children that supervise() starts get the earlier mask. One at a time.
class StopRequests {
 public:
  StopRequests();  // throws kIo
  ~StopRequests();
  StopRequests(const StopRequests&) = delete;
  StopRequests& operator=(const StopRequests&) = delete;
  int descriptor() const { return descriptor_; }
  int take();  // signals that came since the last call, without waiting
  int count() const { return count_; }
  const sigset_t& earlier_mask() const { return earlier_; }

 private:
  int descriptor_ = -1, count_ = 0;
  sigset_t earlier_{};
};

struct Supervision {
  const Cluster& cluster;
  const Job& job;
  std::vector<std::string> forwarded;  // names of variables, as for mpirun_command
  // With a whole record whenever a start or an end makes it another.
  std::function<void(const RunRecord&)> on_change;
};

// Runs every point of the job, one after the other, and each again while it ends with 75 or 76 (or
// by a signal that nobody sent to `hone launch`) and a restart is left. The first signal to this
// process asks the ranks to stop with a checkpoint, the second ends them at once. Returns the exit
// code: of the first point that failed, if one did. Throws kUnavailable when the command can't be
// started.
int supervise(const Supervision& supervision, RunRecord record);

// A rank that was ended by a signal is one that is gone; what mpirun itself could not do is told
// from what the ranks did. `was_asked`: the run was stopped from outside.
int run_exit_code(int code, bool was_asked, bool under_mpirun);

}  // namespace hone::launch
