#include "launch/preflight.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/text.h"
#include "launch/binding.h"
#include "launch/mpirun_line.h"
#include "launch/process.h"

namespace hone::launch {
namespace {

using core::ErrorKind;

void check_cores(const Cluster& cluster) {
  if (!cluster.mpirun.hosts.empty()) return;  // other machines may have more
  const auto cores = std::max<int64_t>(1, std::ssize(allowed_cores()));
  const int64_t bound = cluster.bind == Binding::kCores ? cluster.cpus_per_rank : 0;
  const int64_t wanted = cluster.ranks_per_node * std::max<int64_t>(1, bound);
  if (wanted <= cores || cluster.mpirun.oversubscribe || cluster.num_ranks() == 1) return;
  core::fail(ErrorKind::kBadRecipe,
             {.what = "more cores than this machine has",
              .where = cluster.place(bound > 0 ? "cpus_per_rank" : "ranks_per_node"),
              .got = std::to_string(cluster.ranks_per_node) + " ranks" +
                     (bound > 0 ? " of " + std::to_string(bound) + " cores" : ""),
              .expected = "at most " + std::to_string(cores) + " cores",
              .hint = "oversubscribe: true lets ranks share cores"});
}

void check_interface(const Cluster& cluster) {
  if (cluster.mpirun.interface.empty()) return;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;  // mpirun will say it
  std::set<std::string> names;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) names.insert(i->ifa_name);
  ::freeifaddrs(list);
  const bool is_network = cluster.mpirun.interface.find('/') != std::string::npos;
  if (is_network || names.contains(cluster.mpirun.interface)) return;
  core::fail(ErrorKind::kBadRecipe,
             {.what = "this machine has no such network interface",
              .where = cluster.place("interface"),
              .got = cluster.mpirun.interface,
              .expected = "one of: " + core::join({names.begin(), names.end()}, ", ")});
}

void check_host(const Cluster& cluster, const std::string& host) {
  if (host == core::host_name() || host == "localhost") return;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (error != 0) {
    core::fail(ErrorKind::kUnavailable, {.what = "a host has no address",
                                         .where = cluster.place("hosts"),
                                         .got = host + ": " + ::gai_strerror(error)});
  }
  ::freeaddrinfo(found);
  const Captured login =
      run_captured({"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host, "true"});
  if (login.code == 0) return;
  core::fail(ErrorKind::kUnavailable,
             {.what = "a host takes no login, by which mpirun starts ranks there",
              .where = cluster.place("hosts"),
              .got = login.code == kNoSuchProgram
                         ? "no ssh on this machine"
                         : host + ": " +
                               core::excerpt(login.err.empty() ? "ssh ended with code " +
                                                                     std::to_string(login.code)
                                                               : login.err,
                                             200),
              .hint = "ssh " + host + " true must work without a password"});
}

void check_program(const Cluster& cluster) {
  const std::string& program = cluster.program;
  if (program.empty() || !cluster.container.image.empty()) return;
  const bool is_there = program.find('/') == std::string::npos
                            ? is_on_path(program)
                            : ::access(program.c_str(), X_OK) == 0;
  if (is_there) return;
  core::fail(ErrorKind::kMissingInput, {.what = "no such program",
                                        .where = cluster.place("program"),
                                        .got = program,
                                        .expected = "hone, as ranks start it"});
}

}  // namespace

void check_mpirun(const Cluster& cluster) {
  // Modules and lines of set-up may bring programs that are not there yet.
  const bool changes_path = !cluster.modules.empty() || !cluster.setup.empty();
  if (!changes_path) check_program(cluster);
  if (needs_mpirun(cluster) && !changes_path && !is_on_path("mpirun")) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "no mpirun on this machine",
                .where = cluster.place("launcher"),
                .hint = "install Open MPI (openmpi-bin), or name its module in modules"});
  }
  check_cores(cluster);
  check_interface(cluster);
  for (const std::string& host : cluster.mpirun.hosts) check_host(cluster, host);
}

}  // namespace hone::launch
