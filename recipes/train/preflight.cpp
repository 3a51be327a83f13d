#include "recipes/train/preflight.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/text.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/link_probe.h"
#include "parallel/liveness/listener.h"
#include "recipes/train/ranks.h"
#include "recipes/train/run_info.h"
#include "trainer/checkpoint_bytes.h"

namespace hone::recipes {
namespace {

using core::Json;

constexpr int64_t kProbeBytes = int64_t{8} << 20;
constexpr double kFarApart = 1.0;  // seconds, of clocks
constexpr size_t kMostNamed = 8;

int64_t num_kept_checkpoints(const trainer::TrainOptions& options) {
  const int64_t of_steps = options.save_steps > 0 ? options.max_steps / options.save_steps : 0;
  const int64_t all = std::max<int64_t>(1, of_steps);
  return options.save_total_limit > 0 ? std::min(all, options.save_total_limit) : all;
}

// {"dp_shard": bytes a second}: of the axes that this rank has somebody on.
Json link_rates(parallel::Mesh& mesh, at::Device device) {
  const at::Tensor buffer = at::zeros({kProbeBytes}, at::dtype(at::kByte).device(device));
  Json rates = Json::object();
  const auto probe = [&](const char* axis, parallel::Communicator& group) {
    if (group.size() > 1)
      rates[axis] = parallel::all_reduce_rate(group, buffer.data_ptr(), kProbeBytes);
  };
  probe("dp_shard", mesh.shard);
  probe("dp_replicate", mesh.replicate);
  probe("tp", mesh.tensor);
  probe("cp", mesh.context);
  probe("pp", mesh.pipeline);
  for (const auto& [axis, use] : mesh.uses) *use = {};  // the run's own use begins after this
  return rates;
}

std::string rate_text(double rate) { return core::format_bytes(rate) + "/s"; }

std::string ranks_text(const std::vector<size_t>& ranks) {
  std::vector<std::string> numbers;
  for (size_t i = 0; i < std::min(ranks.size(), kMostNamed); ++i)
    numbers.push_back(std::to_string(ranks[i]));
  const std::string text = (ranks.size() == 1 ? "rank " : "ranks ") + core::join(numbers, " ");
  return ranks.size() > kMostNamed ? text + " and others" : text;
}

// "dp_shard 1.2 GB/s (ranks 2 3) to 1.9 GB/s"
std::string links_text(const std::vector<std::string>& rates) {
  std::map<std::string, std::map<size_t, double>> by_axis;
  for (size_t rank = 0; rank < rates.size(); ++rank) {
    const Json of_rank = Json::parse(rates[rank]);
    for (const auto& [axis, rate] : of_rank.items()) by_axis[axis][rank] = rate.get<double>();
  }
  std::vector<std::string> parts;
  for (const auto& [axis, by_rank] : by_axis) {
    const auto [least, most] = std::ranges::minmax_element(
        by_rank, [](const auto& a, const auto& b) { return a.second < b.second; });
    std::string text = axis + " " + rate_text(least->second);
    if (rate_text(least->second) != rate_text(most->second)) {
      std::vector<size_t> slowest;
      for (const auto& [rank, rate] : by_rank) {
        if (rate <= 1.1 * least->second) slowest.push_back(rank);
      }
      text += " (" + ranks_text(slowest) + ") to " + rate_text(most->second);
    }
    parts.push_back(text);
  }
  return core::join(parts, ", ");
}

std::string milliseconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", 1e3 * seconds);
  return text;
}

// On rank 0.
std::string clocks_text(const std::vector<double>& offsets, const std::vector<std::string>& hosts) {
  double most = 0;
  for (size_t rank = 0; rank < offsets.size(); ++rank) {
    most = std::max(most, std::abs(offsets[rank]));
    if (std::abs(offsets[rank]) < kFarApart) continue;
    spdlog::warn(
        "the clock of rank {} on {} is {:.1f} s {} that of rank 0: times in logs and "
        "records differ",
        rank, hosts[rank], std::abs(offsets[rank]), offsets[rank] > 0 ? "ahead of" : "behind");
  }
  return "clocks within " + milliseconds_text(most) + " of rank 0's";
}

}  // namespace

void compare_programs(parallel::Communicator& world, const Recipe& recipe) {
  require_same(world,
               {{"recipe", recipe.resolved},
                {"layout", parallel::describe_layout(recipe.layout)},
                {"build", build_hash()}},
               "ranks were started with other recipes or programs");
}

void inspect_ranks(WatchedRanks& ranks, parallel::Mesh& mesh, const Recipe& recipe,
                   const models::Model& model, at::Device device) {
  const trainer::SavedBytes saved = trainer::saved_bytes(model, recipe.train.save_dtype);
  parallel::on_first(ranks.world, [&] {
    trainer::require_room(recipe.train.output_dir, saved, num_kept_checkpoints(recipe.train));
  });
  if (ranks.world.size() == 1) return;
  const auto rates = parallel::gather_texts(ranks.world, link_rates(mesh, device).dump());
  const auto hosts = parallel::gather_texts(ranks.world, core::host_name());
  const std::vector<double> offsets = parallel::clock_offsets(ranks.world);
  if (ranks.world.rank() != 0) return;
  const auto num_hosts = std::set<std::string>(hosts.begin(), hosts.end()).size();
  spdlog::info(
      "{} ranks on {} machine{}: {}; {}; a checkpoint takes {} of {} free", hosts.size(), num_hosts,
      num_hosts == 1 ? "" : "s", links_text(rates), clocks_text(offsets, hosts),
      core::format_bytes(static_cast<double>(saved.checkpoint())),
      core::format_bytes(static_cast<double>(trainer::free_bytes(recipe.train.output_dir))));
}

}  // namespace hone::recipes
