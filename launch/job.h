// What is to be run, apart from where.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/cluster.h"

namespace hone::launch {

// One run of a sweep, or the only one.
struct Point {
  std::vector<std::string> overrides;  // key=value, beyond the job's; output_dir is one in a sweep
  std::filesystem::path output_dir;    // absolute
};

enum class Start { kFresh, kResume, kOverwrite };

struct Job {
  std::string name;                      // of the job in a queue
  std::string program;                   // hone
  std::filesystem::path recipe;          // absolute
  std::filesystem::path output_dir;      // absolute; of a sweep: the folder above its points
  std::filesystem::path working_folder;  // relative paths of the recipe are meant from it
  std::vector<std::string> overrides;    // key=value
  Start start = Start::kFresh;
  bool ignore_plan = false;   // hone train --ignore-plan
  std::string dependency;     // of SLURM: "afterok:123"
  std::vector<Point> points;  // one at least
  bool is_sweep() const { return points.size() > 1 || !points.front().overrides.empty(); }
};

// What belongs to the launch of a run, inside its output folder: the record, the script, the log.
inline constexpr const char* kLaunchFolder = "launch";
std::filesystem::path launch_folder(const std::filesystem::path& output_dir);
std::filesystem::path log_file(const std::filesystem::path& output_dir);
// There while a run is not to be started again.
std::filesystem::path cancel_file(const std::filesystem::path& output_dir);

// "hone-demo" for runs/demo: letters, digits, dots, dashes.
std::string job_name(const std::filesystem::path& output_dir);

// "16 ranks on 2 nodes, each bound to 12 cores, with 12 threads and a GPU": what will be asked for.
std::string size_text(const Cluster& cluster);

// "hone train RECIPE --set ..." with what a container needs before it.
std::vector<std::string> program_words(const Cluster& cluster, const Job& job);

// The environment of every rank: the cluster's, the number of threads, and HONE_RANKS, by which a
// rank knows how many were meant to be there.
std::vector<std::pair<std::string, std::string>> rank_variables(const Cluster& cluster);

std::vector<std::string> set_words(const std::vector<std::string>& overrides);

// The points of "learning_rate=1e-4,2e-4" and "seed=1,2": every value of one with every value of
// the others, each in a folder "learning_rate-1e-4_seed-1" below `output_dir`. Without any: one
// point. Throws kUsage for text that is no such list, and for more than 10,000 points.
std::vector<Point> sweep_points(const std::vector<std::string>& sweeps,
                                const std::filesystem::path& output_dir);

}  // namespace hone::launch
