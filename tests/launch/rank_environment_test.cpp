#include "launch/rank_environment.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"

namespace hone::launch {
namespace {

using Values = std::map<std::string, std::string>;

RankEnvironment read(const Values& values) {
  return read_rank_environment([&](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? "" : found->second;
  });
}

// The message of what must fail, with its exit code in front.
std::string failure(const Values& values) {
  try {
    require_rendezvous(read(values));
  } catch (const core::Error& e) {
    return std::to_string(e.exit_code()) + " " + e.what();
  }
  return "none";
}

Values open_mpi() {
  return {{"OMPI_COMM_WORLD_RANK", "3"},
          {"OMPI_COMM_WORLD_SIZE", "4"},
          {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
          {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
          {"PMIX_RANK", "3"}};
}

Values slurm() {
  return {{"SLURM_PROCID", "5"},
          {"SLURM_STEP_NUM_TASKS", "8"},
          {"SLURM_LOCALID", "1"},
          {"PMIX_RANK", "5"}};
}

Values with(Values values, const Values& more) {
  for (const auto& [name, value] : more) values[name] = value;
  std::erase_if(values, [](const auto& variable) { return variable.second.empty(); });
  return values;
}

TEST(RankEnvironment, EveryLauncherIsUnderstood) {
  const RankEnvironment mpi = read(open_mpi());
  EXPECT_EQ(mpi.started_by, StartedBy::kOpenMpi);
  EXPECT_EQ(mpi.rank, 3);
  EXPECT_EQ(mpi.world_size, 4);
  EXPECT_EQ(mpi.local_rank, 1);
  EXPECT_EQ(mpi.local_size, 2);
  const RankEnvironment step = read(slurm());
  EXPECT_EQ(step.started_by, StartedBy::kSlurm);
  EXPECT_EQ(step.rank, 5);
  EXPECT_EQ(step.world_size, 8);
  EXPECT_EQ(step.local_rank, 1);
  EXPECT_TRUE(step.has_rendezvous);
  const RankEnvironment plain = read({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}});
  EXPECT_EQ(plain.started_by, StartedBy::kPlain);
  EXPECT_EQ(plain.rank, 1);
  EXPECT_EQ(plain.world_size, 2);
  EXPECT_EQ(plain.local_rank, 1);
  EXPECT_EQ(read({{"PMIX_RANK", "2"}}).rank, 2);
  EXPECT_EQ(read({}).world_size, 1);
}

TEST(RankEnvironment, ABatchScriptIsNoStepAndMpirunInAJobIsMpirun) {
  EXPECT_EQ(read({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).started_by, StartedBy::kAlone);
  const RankEnvironment inside =
      read(with(open_mpi(), {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}));
  EXPECT_EQ(inside.started_by, StartedBy::kOpenMpi);
  EXPECT_EQ(inside.rank, 3);
}

TEST(RankEnvironment, HalfAndContradictorySettingsAreErrorsThatNameTheVariables) {
  const std::vector<std::pair<Values, std::string>> cases = {
      {with(open_mpi(), {{"OMPI_COMM_WORLD_SIZE", ""}}), "OMPI_COMM_WORLD_SIZE"},
      {with(slurm(), {{"SLURM_PROCID", ""}}), "SLURM_PROCID"},
      {{{"RANK", "0"}}, "WORLD_SIZE"},
      {{{"WORLD_SIZE", "2"}}, "RANK"},
      {with(open_mpi(), {{"OMPI_COMM_WORLD_RANK", "4"}}), "OMPI_COMM_WORLD_RANK"},
      {with(open_mpi(), {{"OMPI_COMM_WORLD_LOCAL_RANK", "2"}}), "OMPI_COMM_WORLD_LOCAL_RANK"},
      {with(slurm(), {{"PMIX_RANK", "4"}}), "PMIX_RANK"},
      {with(open_mpi(), {{"RANK", "0"}, {"WORLD_SIZE", "4"}}), "RANK"},
      {with(open_mpi(), {{"RANK", "3"}, {"WORLD_SIZE", "2"}}), "RANK"},
      {{{"RANK", "x"}, {"WORLD_SIZE", "2"}}, "RANK"},
      {{{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, "RANK"},
      {{{"HONE_RANKS", "many"}}, "HONE_RANKS"},
  };
  for (const auto& [values, name] : cases) {
    const std::string message = failure(values);
    EXPECT_EQ(message.substr(0, 3), "78 ") << name << message;
    EXPECT_NE(message.find(name), std::string::npos) << name << message;
  }
}

TEST(RankEnvironment, RanksThatNothingBringsTogetherDoNotTrainAlone) {
  EXPECT_EQ(
      failure({{"RANK", "1"}, {"WORLD_SIZE", "4"}}),
      "78 RANK and WORLD_SIZE: this is rank 1 of 4, but nothing says where the others are "
      "(set MASTER_ADDR and MASTER_PORT to where rank 0 listens, start them with hone launch, "
      "mpirun or srun --mpi=pmix, or unset them)");
  EXPECT_EQ(
      failure({{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}),
      "none");
  EXPECT_EQ(failure(with(slurm(), {{"PMIX_RANK", ""}})).substr(0, 2), "78");
  EXPECT_EQ(failure({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), "none");
  EXPECT_EQ(failure(slurm()), "none");
}

TEST(RankEnvironment, AnotherNumberOfRanksThanWasMeantIsALostPeer) {
  EXPECT_EQ(failure(with(open_mpi(), {{"HONE_RANKS", "8"}})),
            "76 HONE_RANKS: another number of ranks was started than was asked for: got 4 ranks, "
            "expected 8 (a node may be missing)");
  EXPECT_EQ(failure(with(open_mpi(), {{"HONE_RANKS", "4"}})), "none");
}

}  // namespace
}  // namespace hone::launch
