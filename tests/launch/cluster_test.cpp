#include "launch/cluster.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "core/error.h"
#include "launch/cluster_keys.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = test::kSourceDir;

// What is wrong with a file, without the count that leads it.
std::string problems(const std::string& text) {
  try {
    parse_cluster(text, "c.yaml");
  } catch (const core::Error& e) {
    EXPECT_EQ(e.exit_code(), 78);
    const std::string message = e.what();
    return message.substr(message.find('\n') + 1);
  }
  return "none";
}

TEST(Cluster, EveryFileOfConfigsIsSound) {
  size_t num_files = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "configs/clusters")) {
    EXPECT_NO_THROW(load_cluster(entry.path())) << entry.path();
    ++num_files;
  }
  EXPECT_GE(num_files, 5u);
}

TEST(Cluster, EveryKeyIsDocumented) {
  const std::string text = test::slurp(kSource / "docs/cluster.md");
  for (const ClusterKey& key : cluster_keys())
    EXPECT_NE(text.find("| `" + key.name + "`"), std::string::npos) << key.name;
}

TEST(Cluster, AllErrorsAreReportedAtOnceWithTheirLines) {
  EXPECT_EQ(problems("launcher: slrm\nnodse: 2\npartition: a b\ntime: 3x\ncontainer: {imag: x}\n"
                     "environment: [a]\nnodes: 0\nexclusive: \"true\"\n"),
            "c.yaml:1: launcher: got 'slrm', expected one of: mpirun slurm\n"
            "c.yaml:2: nodse: unknown key, did you mean 'nodes'?\n"
            "c.yaml:3: partition: got 'a b', expected text without spaces\n"
            "c.yaml:4: time: got '3x', expected minutes, HH:MM:SS or DAYS-HH:MM:SS (quoted, or "
            "YAML may read a number)\n"
            "c.yaml:5: container.imag: unknown key, did you mean 'container.image'?\n"
            "c.yaml:6: environment: got a list, expected names of variables, each with a text on "
            "one line\n"
            "c.yaml:7: nodes: got '0', expected a whole number, at least 1 and at most 1000000\n"
            "c.yaml:8: exclusive: got 'true', expected true or false");
  EXPECT_EQ(problems("nodes: 1\nnodes: 2\n"), "c.yaml:2: duplicate key 'nodes', first on line 1");
  EXPECT_EQ(problems("- a\n"), "c.yaml:1: got a list, expected keys and values");
}

TEST(Cluster, WhatDoesNotFitTogetherIsAnError) {
  EXPECT_EQ(problems("nodes: 1\n"), "c.yaml:1: launcher: missing, expected mpirun or slurm");
  EXPECT_EQ(problems("launcher: mpirun\npartition: a\nnodes: 2\nbind: cores\n"),
            "c.yaml:2: partition: is for launcher: slurm, and this file has launcher: mpirun\n"
            "c.yaml:3: nodes: got 2, but mpirun has this machine alone: name the others in hosts\n"
            "c.yaml:4: bind: cores needs cpus_per_rank: how many of them");
  EXPECT_EQ(problems("launcher: slurm\nhosts: [a]\n"),
            "c.yaml:2: hosts: is for launcher: mpirun, and this file has launcher: slurm");
  EXPECT_EQ(problems("launcher: slurm\nranks_per_node: 8\ngpus_per_node: 4\n"),
            "c.yaml:2: ranks_per_node: got 8 for gpus_per_node 4: every rank takes a GPU of its "
            "own");
  EXPECT_EQ(problems("launcher: slurm\ntime: 2\nstop_before_time_limit: 120\n"),
            "c.yaml:3: stop_before_time_limit: got 120 seconds, which the time limit of 120 "
            "seconds does not have");
  EXPECT_EQ(problems("launcher: mpirun\nhosts: [a, a, 'b c', --x]\n"),
            "c.yaml:2: hosts: 'a' is there twice: ranks_per_node says how many it runs\n"
            "c.yaml:2: hosts: got 'b c', expected the name of a machine\n"
            "c.yaml:2: hosts: got '--x', expected the name of a machine");
  EXPECT_EQ(problems("launcher: mpirun\ncontainer: {image: a, runtime: pyxis}\n"),
            "c.yaml:2: container.runtime: pyxis is a part of SLURM: apptainer runs under mpirun");
  EXPECT_EQ(problems("launcher: mpirun\ncontainer: {mounts: [a]}\n"),
            "c.yaml:2: container: container.image is missing");
}

TEST(Cluster, NoTextCanBringALineOfItsOwnIntoTheScript) {
  for (const char* line :
       {"account: \"a\\nrm\"", "setup: [\"a\\nb\"]", "environment: {A: \"a\\nb\"}",
        "sbatch_options: [\"a\\nb\"]", "environment: {\"A;B\": c}"}) {
    EXPECT_NE(problems("launcher: slurm\n" + std::string(line) + "\n"), "none") << line;
  }
}

TEST(Cluster, HostsAreTheNodesAndCoresAreBoundWhereTheyAreCounted) {
  const Cluster c = parse_cluster(
      "launcher: mpirun\nhosts: [a, b, c]\nranks_per_node: 2\ncpus_per_rank: 4\n", "c.yaml");
  EXPECT_EQ(c.num_ranks(), 6);
  EXPECT_EQ(c.bind, Binding::kCores);
  EXPECT_EQ(c.threads_per_rank, 4);
  EXPECT_EQ(c.place("hosts"), "c.yaml:2");
  EXPECT_EQ(c.place("interface"), "c.yaml");
}

TEST(Cluster, TimeLimitsAreReadAsSlurmReadsThem) {
  const std::vector<std::pair<std::string, int64_t>> cases = {
      {"30", 1800},     {"30:15", 1815},     {"12:00:00", 43200},
      {"2-00", 172800}, {"1-12:30", 131400}, {"1-12:30:05", 131405},
      {"", -1},         {"1:2:3:4", -1},     {"x", -1},
      {"1-", -1},       {"-5", -1},          {"1:", -1}};
  for (const auto& [text, seconds] : cases) EXPECT_EQ(time_limit_seconds(text), seconds) << text;
}

}  // namespace
}  // namespace hone::launch
