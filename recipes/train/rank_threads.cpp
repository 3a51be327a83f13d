#include "recipes/train/rank_threads.h"

#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

#include "core/environment.h"
#include "core/json.h"
#include "launch/binding.h"
#include "launch/process.h"
#include "parallel/comm/agree.h"

namespace hone::recipes {
namespace {

std::vector<launch::RankPlace> gather_places(parallel::Communicator& world,
                                             const launch::RankPlace& mine) {
  const core::Json text = {{"host", mine.host}, {"cores", mine.cores}, {"threads", mine.threads}};
  std::vector<launch::RankPlace> places;
  for (const std::string& of_rank : parallel::gather_texts(world, text.dump())) {
    const core::Json place = core::Json::parse(of_rank);
    places.push_back({.host = place.at("host").get<std::string>(),
                      .cores = place.at("cores").get<std::string>(),
                      .threads = place.at("threads").get<int>()});
  }
  return places;
}

}  // namespace

void settle_threads(parallel::Communicator& world) {
  if (world.size() == 1) return;
  launch::RankPlace mine{.host = core::host_name(),
                         .cores = launch::cores_text(launch::allowed_cores())};
  const auto places = gather_places(world, mine);
  if (std::getenv("OMP_NUM_THREADS") == nullptr)
    at::set_num_threads(launch::fair_threads(places, static_cast<size_t>(world.rank())));
  mine.threads = at::get_num_threads();
  for (const std::string& line : launch::binding_lines(gather_places(world, mine))) {
    if (world.rank() == 0) spdlog::info("{}", line);
  }
}

}  // namespace hone::recipes
