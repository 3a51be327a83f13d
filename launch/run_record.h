// What is known of a launched run: a small file in its output folder.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/cluster.h"

namespace hone::launch {

struct RunRecord {
  Launcher launcher = Launcher::kMpirun;
  std::string job_id;     // of SLURM
  pid_t pid = 0;          // of `hone launch`, under mpirun
  int64_t pid_start = 0;  // process_start of it
  std::string host;       // on which pid is; from where a job was sent
  std::string log;        // of an array of jobs: with %a
  std::string command;    // the mpirun line, or the script's file
  std::string cluster;    // its file
  std::string started;    // UTC
  std::string ended;      // "" while it runs; SLURM knows better
  int64_t ranks = 0;
  int64_t restarts = 0;             // under mpirun
  std::optional<int> exit_code;     // under mpirun
  std::vector<std::string> points;  // output folders: of a sweep several
};

// Written whole or not at all. Throws kIo, kCannotCreate.
void write_record(const std::filesystem::path& output_dir, const RunRecord& record);

// nullopt: nothing was launched there. Throws kBadInput for a record that makes no sense.
std::optional<RunRecord> read_record(const std::filesystem::path& output_dir);

// Of a run under mpirun: whether it goes on, on this machine.
bool runs_here(const RunRecord& record);

}  // namespace hone::launch
