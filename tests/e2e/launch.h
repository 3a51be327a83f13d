// `hone launch` in a Workspace.
#pragma once

#include "tests/e2e/ranks.h"

namespace hone::test {

// Two ranks of this machine, as tests may start them.
inline std::string mpirun_cluster(const std::string& more = "") {
  return "launcher: mpirun\nranks_per_node: 2\noversubscribe: true\nthreads_per_rank: 1\n"
         "mpirun_options: [--mca, btl, \"self,vader\", --mca, oob_tcp_if_include, lo, --mca, "
         "mpi_yield_when_idle, \"1\"]\n" +
         more;
}

inline ProcessResult launch(const Workspace& work, std::vector<std::string> arguments,
                            Environment environment = {},
                            const std::function<void(pid_t)>& meanwhile = {}) {
  arguments.insert(arguments.begin(),
                   {"timeout", "-k", "5", "200", (kBin / "hone").string(), "launch"});
  environment.merge(mpirun_environment());
  return work.run(arguments, environment, meanwhile);
}

inline std::string launch_log(const Workspace& work) {
  return slurp(work / "out" / "launch" / "log.txt");
}

inline size_t num_rows(const Workspace& work) {
  return timeless_metrics(work / "out" / "metrics.jsonl").size();
}

}  // namespace hone::test
