#include "parallel/comm/choose.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace hone::parallel {
namespace {

using core::Error;
using core::ErrorKind;

std::string choose(const std::string& wanted, const std::map<std::string, std::string>& variables) {
  return choose_backend(wanted, [&](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? std::string() : at->second;
  });
}

TEST(Choose, AutoFollowsTheLauncher) {
  EXPECT_EQ(choose("auto", {}), "solo");
  EXPECT_EQ(choose("auto", {{"OMPI_COMM_WORLD_SIZE", "4"}}), "mpi");
  EXPECT_EQ(choose("auto", {{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}}), "mpi");
  EXPECT_EQ(choose("auto", {{"PMI_RANK", "1"}}), "mpi");
  EXPECT_EQ(choose("auto", {{"SLURM_STEP_NUM_TASKS", "1"}}), "solo");
  EXPECT_EQ(choose("auto", {{"WORLD_SIZE", "1"}}), "solo");
  EXPECT_EQ(choose("auto", {{"WORLD_SIZE", "2"}, {"RANK", "0"}}), "tcp");
  EXPECT_EQ(choose("auto", {{"WORLD_SIZE", "2"}, {"PMIX_RANK", "0"}}), "mpi");
}

TEST(Choose, TasksOfSrunWithoutPmiDoNotTrainAloneSilently) {
  try {
    choose("auto", {{"SLURM_STEP_NUM_TASKS", "8"}});
    FAIL() << "chosen";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadRecipe);
    EXPECT_NE(std::string(error.what()).find("--mpi=pmix"), std::string::npos);
  }
}

TEST(Choose, AnUnknownNameIsRefused) {
  EXPECT_EQ(choose("mpi", {}), "mpi");
  EXPECT_THROW(choose("gloo", {}), Error);
}

TEST(Choose, TheDeviceIsTheRankOnThisMachine) {
  const auto rank = [](const std::map<std::string, std::string>& variables) {
    return local_rank([&](const char* name) {
      const auto at = variables.find(name);
      return at == variables.end() ? std::string() : at->second;
    });
  };
  EXPECT_EQ(rank({}), 0);
  EXPECT_EQ(rank({{"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"SLURM_LOCALID", "1"}}), 3);
  EXPECT_EQ(rank({{"SLURM_LOCALID", "5"}}), 5);
  EXPECT_EQ(rank({{"SLURM_LOCALID", "5x"}}), 0);
  EXPECT_EQ(rank({{"LOCAL_RANK", "2"}}), 2);
}

TEST(Choose, ABackendThatIsNotBuiltInIsANamedError) {
  const std::string program = std::string(test::kBinaryDir) + "/bin/comm_no_mpi_program";
  const test::ProcessResult mpi = test::run_process({program, "mpi"});
  EXPECT_EQ(mpi.code, 78);
  EXPECT_NE(mpi.out.find("backend: this build has no MPI"), std::string::npos) << mpi.out;
  const test::ProcessResult nccl = test::run_process({program, "nccl"});
  EXPECT_EQ(nccl.code, 78);
  EXPECT_NE(nccl.out.find("backend: this build has no NCCL"), std::string::npos) << nccl.out;
  const test::ProcessResult solo = test::run_process({program, "solo"});
  EXPECT_EQ(solo.code, 0);
  EXPECT_EQ(solo.out, "solo\n");
}

}  // namespace
}  // namespace hone::parallel
