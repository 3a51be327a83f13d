// A cluster file: where a recipe runs and how its ranks are started. Read strictly, like a recipe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace hone::launch {

enum class Launcher { kMpirun, kSlurm };
enum class Binding { kNone, kCores, kSockets };
enum class ContainerRuntime { kApptainer, kPyxis };

struct Container {
  std::string image;  // "": none
  ContainerRuntime runtime = ContainerRuntime::kApptainer;
  std::vector<std::string> mounts;  // "FROM:TO"
  std::vector<std::string> options;
};

// What only SLURM has a word for. Empty texts are left to the cluster's defaults.
struct SlurmOptions {
  std::string partition, account, qos, time, memory, constraint, reservation, nodelist;
  bool exclusive = false;
  int64_t stop_before_time_limit = 120;  // seconds
  std::string mpi = "pmix";
  int64_t array_limit = 0;  // tasks of a sweep at one time; 0: all
  std::vector<std::string> sbatch_options, srun_options;
};

struct MpirunOptions {
  std::vector<std::string> hosts;  // empty: this machine
  std::string interface;           // "": Open MPI's choice
  bool oversubscribe = false;
  int64_t survivor_seconds = 2;
  std::vector<std::string> options;
};

struct Cluster {
  std::string path;  // as the user gave it
  Launcher launcher = Launcher::kMpirun;
  int64_t nodes = 1, ranks_per_node = 1;
  int64_t cpus_per_rank = 0;  // 0: not said
  int64_t threads_per_rank = 0;
  int64_t gpus_per_node = 0;
  std::string hardware;  // what plans take a rank for; "": by gpus_per_node
  Binding bind = Binding::kNone;
  SlurmOptions slurm;
  MpirunOptions mpirun;
  Container container;
  std::vector<std::string> modules;
  std::vector<std::string> setup;                                // lines of shell
  std::vector<std::pair<std::string, std::string>> environment;  // in file order
  std::string program;                                           // "": this program
  int64_t max_restarts = 0;
  std::map<std::string, int> lines;  // of the keys that were given, for messages

  int64_t num_ranks() const { return nodes * ranks_per_node; }
  // "cluster.yaml:12", or the file alone for a key that was not given.
  std::string place(const std::string& key) const;
};

// Throws kMissingInput when the file is not there; kBadRecipe listing every problem, in line order,
// one a line ("cluster.yaml:3: nodse: unknown key, did you mean 'nodes'?").
Cluster load_cluster(const std::string& path);

// The same for text that is already read.
Cluster parse_cluster(const std::string& text, const std::string& path);

// Seconds of a SLURM time limit: "30" (minutes), "30:00", "12:00:00", "2-00", "2-12:30",
// "2-12:30:00"; -1 for anything else.
int64_t time_limit_seconds(const std::string& text);

}  // namespace hone::launch
