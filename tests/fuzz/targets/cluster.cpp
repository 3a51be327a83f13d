// A cluster file. Of one that is accepted no value can bring a line of its own into the script of
// SLURM.
#include "launch/cluster.h"

#include <algorithm>
#include <sstream>

#include "launch/mpirun_line.h"
#include "launch/sbatch_script.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

void check_script(const std::string& script) {
  const bool is_plain = std::all_of(script.begin(), script.end(), [](char c) {
    return c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
  require(is_plain, "a control character in the script");
  std::istringstream lines(script);
  for (std::string line; std::getline(lines, line) && !line.empty();)
    require(line.starts_with('#'), "a command among the options: " + line);
}

}  // namespace

void fuzz_cluster(std::string_view input) {
  launch::Cluster cluster;
  if (!accepts([&] { cluster = launch::parse_cluster(std::string(input), "cluster.yaml"); },
               {core::ErrorKind::kBadRecipe}))
    return;
  launch::Job job{.name = "hone", .program = "hone", .recipe = "/r", .output_dir = "/out"};
  job.points = launch::sweep_points({}, job.output_dir);
  check_script(launch::sbatch_script(cluster, job));
  const auto command =
      launch::mpirun_command(cluster, job, job.points[0], launch::Start::kFresh, {});
  require(!command.words.empty(), "an empty command");
}

}  // namespace hone::fuzz
