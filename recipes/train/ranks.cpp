#include "recipes/train/ranks.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <vector>

#include "core/environment.h"
#include "core/log.h"
#include "core/temporary_folder.h"
#include "launch/rank_environment.h"
#include "parallel/comm/choose.h"
#include "parallel/comm/nccl.h"
#include "parallel/comm/recorded.h"
#include "parallel/liveness/start_watch.h"
#include "recipes/program.h"
#include "recipes/train/rank_threads.h"
#include "trainer/identity.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;

// "ranks 0 2: 4, rank 1: 8"
std::string values_text(const std::vector<std::string>& values) {
  std::map<std::string, std::string> ranks;
  for (size_t rank = 0; rank < values.size(); ++rank)
    ranks[values[rank]] += " " + std::to_string(rank);
  std::string text;
  for (const auto& [value, of] : ranks) {
    const bool several = of.find(' ', 1) != std::string::npos;
    text +=
        (text.empty() ? "" : ", ") + std::string(several ? "ranks" : "rank") + of + ": " + value;
  }
  return text;
}

// The values of every key that some rank has another value of than rank 0.
std::map<std::string, std::vector<std::string>> differing(const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<std::string>> keys;
  const Json first = Json::parse(texts.front());
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    for (const auto& difference : trainer::identity_differences(first, Json::parse(texts[rank]))) {
      auto& values = keys[difference.key];
      values.resize(texts.size(), difference.checkpoint);
      values[rank] = difference.now;
    }
  }
  return keys;
}

// What rank 0 has warned of need not be said again.
class ErrorsOnly {
 public:
  ErrorsOnly() : before_(spdlog::get_level()) { spdlog::set_level(spdlog::level::err); }
  ~ErrorsOnly() { spdlog::set_level(before_); }
  ErrorsOnly(const ErrorsOnly&) = delete;
  ErrorsOnly& operator=(const ErrorsOnly&) = delete;

 private:
  spdlog::level::level_enum before_;
};

// Seconds that MPI's start may take; a cluster's nodes can be minutes apart.
constexpr int kStartSeconds = 300;

int start_seconds(const core::ReadEnvironment& environment) {
  const std::string text = environment("HONE_START_TIMEOUT");
  if (text.empty()) return kStartSeconds;
  int seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds <= 0) {
    core::fail(ErrorKind::kUsage, {.what = "not a number of seconds",
                                   .where = "HONE_START_TIMEOUT",
                                   .got = text,
                                   .expected = "a whole number above 0"});
  }
  return seconds;
}

[[noreturn]] void end_late_start(int seconds, int rank) {
  const core::Error error(
      ErrorKind::kPeerLost,
      {.what = "not all ranks have come together in " + std::to_string(seconds) + " s",
       .hint = "a machine that is down or does not reach this one, or a rank that hangs before it "
               "begins: look for what the others said; HONE_START_TIMEOUT=SECONDS waits longer"});
  const std::string report = error_report(error, rank);
  std::fputs(report.c_str(), stderr);
  ::_exit(error.exit_code());
}

// `rank` is the launcher's word: MPI has none yet.
parallel::Communicator start_ranks(int rank) {
  const core::ReadEnvironment environment = core::process_environment();
  if (parallel::choose_backend("auto", environment) == "solo")
    return parallel::make_communicator("auto");
  const int seconds = start_seconds(environment);
  const parallel::StartWatch watch(std::chrono::seconds(seconds),
                                   [=] { end_late_start(seconds, rank); });
  return parallel::make_communicator("auto");
}

bool wants_nccl(const std::string& backend, at::Device device, int num_ranks) {
  return backend == "nccl" || (backend == "auto" && device.is_cuda() && num_ranks > 1);
}

}  // namespace

int on_ranks(const std::function<int(parallel::Communicator& world)>& work) {
  const auto environment = launch::read_rank_environment(core::process_environment());
  launch::require_rendezvous(environment);
  parallel::Communicator world = start_ranks(environment.rank);
  core::set_up_log(world.rank(), false);
  try {
    settle_threads(world);
    const int code = work(world);
    world.finish();
    return code;
  } catch (const parallel::AgreedError& error) {
    world.finish();
    if (world.rank() == 0) throw;
    return error.exit_code();
  } catch (const core::Error& error) {
    if (world.rank() == 0) throw;
    std::fputs(error_report(error, world.rank()).c_str(), stderr);
    return error.exit_code();
  }
}

void first_then_others(parallel::Communicator& world, const std::function<void()>& work) {
  std::exception_ptr error;
  if (world.rank() == 0) {
    try {
      work();
    } catch (const std::exception&) {
      error = std::current_exception();
    }
  }
  world.barrier();
  parallel::together(world, [&] {
    if (error) std::rethrow_exception(error);
    if (world.rank() == 0) return;
    const ErrorsOnly log;
    work();
  });
}

void require_shared(parallel::Communicator& world, const fs::path& folder) {
  if (world.size() == 1) return;
  std::optional<core::TemporaryFolder> probe;
  std::string name;
  parallel::together(world, [&] {
    if (world.rank() != 0) return;
    probe.emplace(folder, "probe-");
    name = probe->path().filename();
  });
  name = parallel::text_of_first(world, name);
  parallel::together(world, [&] {
    if (fs::is_directory(folder / name)) return;
    core::fail(ErrorKind::kCannotCreate,
               {.what = "what rank 0 writes into the output folder is not seen here",
                .where = fs::absolute(folder).string(),
                .hint = "the ranks write checkpoints together: output_dir must be one folder for "
                        "all of them"});
  });
}

void require_same(parallel::Communicator& world, const Json& mine, const std::string& what) {
  const auto keys = differing(parallel::gather_texts(world, mine.dump()));
  if (keys.empty()) return;
  std::string text = what;
  for (const auto& [key, values] : keys) text += "\n  " + key + ": " + values_text(values);
  throw parallel::AgreedError(
      ErrorKind::kBadRecipe,
      {.what = text, .hint = "start every rank with the same program, recipe and files"});
}

void check_backend(const std::string& backend, at::Device device, int num_ranks) {
  if (wants_nccl(backend, device, num_ranks)) parallel::real_nccl_api();
  if (backend == "nccl" && !device.is_cuda()) {
    core::fail(ErrorKind::kBadRecipe, {.what = "nccl moves the memory of GPUs",
                                       .where = "backend",
                                       .got = "nccl with device: cpu",
                                       .expected = "auto or mpi"});
  }
  if (backend == "mpi" && device.is_cuda() && num_ranks > 1) {
    core::fail(ErrorKind::kBadRecipe, {.what = "mpi moves host memory only",
                                       .where = "backend",
                                       .got = "mpi with device: cuda",
                                       .expected = "auto or nccl"});
  }
}

parallel::Mesh make_rank_mesh(parallel::Communicator& world, const parallel::Layout& layout,
                              const std::string& backend, at::Device device,
                              const std::shared_ptr<parallel::FlightRecord>& record) {
  parallel::together(world, [&] { check_backend(backend, device, world.size()); });
  if (!wants_nccl(backend, device, world.size())) return parallel::make_mesh(world, layout, record);
  parallel::Communicator devices = parallel::make_communicator("nccl");
  if (record) devices = parallel::recorded(devices, record, "world");
  return parallel::make_mesh(devices, layout, record);
}

parallel::Mesh make_training_mesh(parallel::Communicator& world, const Recipe& recipe,
                                  at::Device device,
                                  const std::shared_ptr<parallel::FlightRecord>& record) {
  return make_rank_mesh(world, recipe.layout, recipe.parallel.backend, device, record);
}

}  // namespace hone::recipes
