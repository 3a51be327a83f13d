#include "recipes/train/rank_watch.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "core/text.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/recorded.h"
#include "parallel/liveness/connect.h"
#include "parallel/liveness/heartbeat.h"
#include "recipes/program.h"
#include "recipes/train/flight_file.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using parallel::Loss;
using std::chrono::milliseconds;

constexpr auto kFileTime = std::chrono::seconds(2);  // for the flight record on a disk that hangs
constexpr auto kLossTime = std::chrono::seconds(2);  // between an error of MPI's and its cause
constexpr auto kMeetTime = std::chrono::seconds(20);

milliseconds milliseconds_of(double seconds) {
  return std::chrono::duration_cast<milliseconds>(std::chrono::duration<double>(seconds));
}

// Of a rank that was stopped, and goes on when the run has ended without it.
std::string given_up_text(const Loss& loss) {
  return "the other ranks have given this one up: rank " + std::to_string(loss.told_by) +
         " heard nothing of it for " + core::format_duration(loss.silent_seconds);
}

class RankWatch {
 public:
  RankWatch(parallel::Communicator& world, const Recipe& recipe)
      : rank_(world.rank()),
        output_dir_(recipe.train.output_dir),
        record_(std::make_shared<parallel::FlightRecord>()),
        ranks_{.world = parallel::recorded(world, record_, "world"), .record = record_} {
    const milliseconds timeout = milliseconds_of(recipe.parallel.timeout_seconds);
    parallel::ConnectedRanks connected =
        parallel::connect_ranks(world, {.interface = recipe.parallel.interface,
                                        .port = recipe.parallel.port,
                                        .timeout = std::min<milliseconds>(timeout, kMeetTime)});
    endpoints_ = std::move(connected.ranks);
    heartbeat_.emplace(std::move(connected.links),
                       parallel::HeartbeatOptions{
                           .rank = rank_,
                           .timeout = timeout,
                           .record = record_,
                           .on_loss = [this](const auto& losses) { report(losses); },
                           .leave = [](const auto& losses) { ::_exit(losses.front().exit_code); }});
  }

  WatchedRanks& ranks() { return ranks_; }

  void end() { heartbeat_->goodbye(); }

  void fail(const core::Error& error) {
    // MPI may notice a lost rank as well, but can't say which.
    if (error.kind() == ErrorKind::kPeerLost) heartbeat_->wait_for_loss(kLossTime);
    write_file({.rank = rank_, .reason = error.what()});
    heartbeat_->fail(error.exit_code(), error.what());
  }

 private:
  // On the watching thread; the main one waits in a call that never ends, or computes.
  void report(const std::vector<Loss>& losses) {
    std::string text;
    for (const Loss& loss : losses) {
      const std::string what =
          loss.rank == rank_ ? given_up_text(loss)
                             : loss_text(loss, endpoints_[static_cast<size_t>(loss.rank)].host);
      text += (text.empty() ? "" : "\n") + what;
    }
    const parallel::FlightStatus own = record_->status();
    const core::Error error(
        static_cast<ErrorKind>(losses.front().exit_code),
        {.what = text + "\nthis rank: " + parallel::describe(own.action) + "; " +
                 parallel::describe(own.call) + (own.call.ended == 0 ? " (waiting)" : " (done)"),
         .hint = "start again with --resume; " + flight_path(output_dir_, rank_).string() +
                 " has what this rank did last"});
    const std::string report = error_report(error, rank_, own.step);
    // In one piece: the other ranks write to the same place.
    if (::write(STDERR_FILENO, report.data(), report.size()) < 0) return;
    write_file({.rank = rank_, .reason = text, .losses = losses});
  }

  // Never holds up the end of the process.
  void write_file(FlightFile file) {
    std::packaged_task<void()> task(
        [file = std::move(file), output_dir = output_dir_, record = record_] {
          write_flight_file(output_dir, file, *record);
        });
    auto done = task.get_future();
    std::thread(std::move(task)).detach();
    if (done.wait_for(kFileTime) != std::future_status::ready) return;
    try {
      done.get();
    } catch (const std::exception& error) {
      const std::string text = "no flight record: " + std::string(error.what()) + "\n";
      if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;
    }
  }

  const int rank_;
  const fs::path output_dir_;
  const std::shared_ptr<parallel::FlightRecord> record_;
  WatchedRanks ranks_;
  std::vector<parallel::Endpoint> endpoints_;
  std::optional<parallel::Heartbeat> heartbeat_;
};

}  // namespace

int watch_ranks(parallel::Communicator& world, const Recipe& recipe,
                const std::function<int(WatchedRanks& ranks)>& work) {
  if (world.size() == 1) {
    WatchedRanks alone{.world = world, .record = nullptr};
    return work(alone);
  }
  RankWatch watch(world, recipe);
  try {
    const int code = work(watch.ranks());
    watch.end();
    return code;
  } catch (const parallel::AgreedError&) {
    watch.end();
    throw;
  } catch (const core::Error& error) {
    watch.fail(error);
    throw;
  } catch (const std::bad_alloc&) {
    watch.fail(core::Error(ErrorKind::kInternal, {.what = "out of memory"}));
    throw;
  } catch (const std::exception& error) {
    watch.fail(core::Error(ErrorKind::kInternal, {.what = error.what()}));
    throw;
  }
}

}  // namespace hone::recipes
