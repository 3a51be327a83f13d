// The mpi backend under a real mpirun. Every run is bounded in time: a hang is a failure.
#include "tests/support/mpirun.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/comm/conformance.h"
#include "tests/support/paths.h"

namespace hone::test {
namespace {

ProcessResult mpirun(int ranks, const std::string& scenario) {
  const std::string program = std::string(kBinaryDir) + "/bin/comm_mpi_program";
  std::vector<std::string> command = mpirun_words(120);
  command.insert(command.end(), {"-np", std::to_string(ranks), program, scenario});
  return run_process(command, mpirun_environment());
}

class Mpirun : public testing::TestWithParam<int> {};

TEST_P(Mpirun, ConformsPlainAndChecked) {
  const ProcessResult result = mpirun(GetParam(), "conform");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(times(result.out, "ok "), 2 * conformance_cases().size()) << result.out;
}

TEST_P(Mpirun, PiecesOfLargeCountsComeTogether) {
  const ProcessResult result = mpirun(GetParam(), "pieces");
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_P(Mpirun, AbortEndsAllWithItsCodeAndMessage) {
  const ProcessResult result = mpirun(GetParam(), "abort");
  EXPECT_EQ(result.code, 76);
  EXPECT_EQ(times(result.err, "rank 1 gives up"), 1U) << result.err;
}

TEST_P(Mpirun, ACollectiveLeftByAnExceptionIsNotGoneOnWith) {
  const ProcessResult result = mpirun(GetParam(), "dropped");
  EXPECT_EQ(result.code, 76) << result.err;
  EXPECT_NE(result.err.find("this rank gave up a collective"), std::string::npos) << result.err;
}

TEST_P(Mpirun, AProcessThatJustEndsEndsTheOthersWithItsCode) {
  EXPECT_EQ(mpirun(GetParam(), "exit").code, 77);
}

TEST_P(Mpirun, MismatchIsOneErrorOnEveryRankNamingRanksAndCalls) {
  const ProcessResult result = mpirun(GetParam(), "mismatch");
  EXPECT_EQ(result.code, 0) << result.err;
  const std::string others = GetParam() == 2 ? "rank 0: " : "ranks 0 2 3: ";
  const std::string members = GetParam() == 2 ? "ranks 0 1" : "ranks 0 1 2 3";
  EXPECT_EQ(times(result.out, ": exit 70: ranks call different collectives: " + others +
                                  "all_reduce sum of 12 float32 (call 1 of " + members +
                                  "); rank 1: all_gather of 3 per rank float32 (call 1 of " +
                                  members + ")"),
            static_cast<size_t>(GetParam()))
      << result.out;
}

TEST_P(Mpirun, ARankThatCallsNothingIsNamed) {
  const ProcessResult result = mpirun(GetParam(), "silent");
  EXPECT_EQ(result.code, 0) << result.err;
  const std::string last = std::to_string(GetParam() - 1);
  EXPECT_EQ(times(result.out, "rank " + last + " has called nothing"),
            static_cast<size_t>(GetParam() - 1))
      << result.out;
}

TEST_P(Mpirun, AMessageOfAnotherSizeIsAnError) {
  const ProcessResult result = mpirun(GetParam(), "wrong size");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("got 16 bytes, expected 32"), std::string::npos) << result.out;
}

TEST_P(Mpirun, MeshesHaveTheGroupsOfTheirLayouts) {
  const ProcessResult result = mpirun(GetParam(), "mesh");
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_P(Mpirun, AnErrorOfOneRankIsThrownByAllWhichEndWithItsCode) {
  const ProcessResult result = mpirun(GetParam(), "together");
  EXPECT_EQ(result.code, 65) << result.err;
  EXPECT_EQ(times(result.out, ": rank 1: a.jsonl:3: no \"rows\"\n"),
            static_cast<size_t>(GetParam()))
      << result.out;
}

INSTANTIATE_TEST_SUITE_P(Ranks, Mpirun, testing::Values(2, 4));

}  // namespace
}  // namespace hone::test
