#include "recipes/train/rank_watch.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <thread>

#include "core/json.h"
#include "core/text.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/recorded.h"
#include "parallel/liveness/heartbeat.h"
#include "recipes/program.h"
#include "recipes/train/flight_file.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;
using parallel::Endpoint;
using parallel::Loss;
using std::chrono::milliseconds;

constexpr auto kFileTime = std::chrono::seconds(2);  // for the flight record on a disk that hangs
constexpr auto kLossTime = std::chrono::seconds(2);  // between an error of MPI's and its cause
constexpr auto kMeetTime = std::chrono::seconds(20);

std::string random_text() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    core::fail_errno("no random numbers", "getrandom", errno);
  std::string text;
  for (const unsigned char byte : bytes) text += std::to_string(byte) + ".";
  return text;
}

milliseconds milliseconds_of(double seconds) {
  return std::chrono::duration_cast<milliseconds>(std::chrono::duration<double>(seconds));
}

// The ranks of one machine take neighbouring ports.
parallel::ListenOptions listen_options(const ParallelOptions& options,
                                       const std::vector<std::string>& hosts, int rank) {
  const auto own = hosts.begin() + rank;
  const auto before = static_cast<int>(std::count(hosts.begin(), own, *own));
  const bool one_machine = std::ranges::all_of(hosts, [&](const auto& h) { return h == *own; });
  return {.interface = options.interface,
          .port = options.port == 0 ? 0 : options.port + before,
          .one_machine = one_machine};
}

Json endpoint_json(const Endpoint& endpoint) {
  return {{"host", endpoint.host}, {"address", endpoint.address}, {"port", endpoint.port}};
}

std::vector<Endpoint> endpoints_from(const std::vector<std::string>& texts) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : texts) {
    const Json json = Json::parse(text);
    endpoints.push_back(
        {.host = json.at("host"), .address = json.at("address"), .port = json.at("port")});
  }
  return endpoints;
}

// Every rank hears of every rank that is missing anywhere.
void require_all_met(parallel::Communicator& world, const std::string& missing) {
  std::string text = "ranks can't reach each other";
  const std::vector<std::string> all = parallel::gather_texts(world, missing);
  bool is_any = false;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    is_any = true;
    text += "\n  from rank " + std::to_string(rank) + ": " + all[rank];
  }
  if (!is_any) return;
  throw parallel::AgreedError(
      ErrorKind::kPeerLost,
      {.what = text,
       .hint = "comm_interface: the network between the machines; comm_port: ports a firewall "
               "lets through"});
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
    std::optional<parallel::Listener> listener;
    const auto hosts = parallel::gather_texts(world, parallel::machine_name());
    parallel::together(world,
                       [&] { listener.emplace(listen_options(recipe.parallel, hosts, rank_)); });
    endpoints_ =
        endpoints_from(parallel::gather_texts(world, endpoint_json(listener->endpoint()).dump()));
    const milliseconds timeout = milliseconds_of(recipe.parallel.timeout_seconds);
    parallel::Met met =
        parallel::meet(*listener, {.rank = rank_,
                                   .ranks = endpoints_,
                                   .secret = parallel::text_of_first(world, random_text()),
                                   .timeout = std::min<milliseconds>(timeout, kMeetTime)});
    require_all_met(world, met.missing);
    heartbeat_.emplace(std::move(met.links),
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
  std::vector<Endpoint> endpoints_;
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
