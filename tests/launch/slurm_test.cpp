// What SLURM's commands answer, and what is made of it. A SLURM that runs is in tests/e2e.
#include "launch/slurm.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "launch/job.h"

namespace hone::launch {
namespace {

// Answers by the first word; what is not listed is not there.
RunCommand answering(const std::map<std::string, Captured>& answers,
                     std::vector<std::string>* asked = nullptr) {
  return [answers, asked](const std::vector<std::string>& words) {
    if (asked != nullptr) {
      std::string line;
      for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
      asked->push_back(line);
    }
    const auto found = answers.find(words.front());
    return found == answers.end() ? Captured{.code = kNoSuchProgram} : found->second;
  };
}

Cluster cluster() {
  return parse_cluster("launcher: slurm\npartition: gpu\naccount: me\ntime: 30\n", "c.yaml");
}

std::string failure(const std::function<void()>& work) {
  try {
    work();
  } catch (const core::Error& e) {
    return std::to_string(e.exit_code()) + " " + e.what();
  }
  return "none";
}

TEST(Slurm, IsSaidNotToBeThereOrNotToAnswer) {
  EXPECT_EQ(failure([] { check_slurm(cluster(), answering({})); }),
            "69 SLURM is not on this machine: no sinfo (run this on a login node of the cluster, "
            "or load SLURM's module)");
  EXPECT_EQ(failure([] {
              check_slurm(cluster(), answering({{"sinfo",
                                                 {.code = 1,
                                                  .out = "",
                                                  .err = "slurm_load: Unable "
                                                         "to contact\n"}}}));
            }),
            "69 SLURM does not answer: got slurm_load: Unable to contact");
}

TEST(Slurm, AnUnknownPartitionIsNamedWithItsLineAndTheKnownOnes) {
  const RunCommand run =
      answering({{"sinfo", {.code = 0, .out = "batch\ngpus\ngpus\n", .err = ""}}});
  EXPECT_EQ(failure([&] { check_slurm(cluster(), run); }),
            "78 c.yaml:2: SLURM has no such partition: got gpu, expected one of: batch, gpus (did "
            "you mean 'gpus'?)");
  EXPECT_EQ(failure([&] {
              check_slurm(parse_cluster("launcher: slurm\npartition: \"batch,gpus\"\n", "c"), run);
            }),
            "none");
}

TEST(Slurm, ARefusalNamesTheLineItIsAbout) {
  const auto refused = [](const std::string& text) {
    return failure([&] {
      test_script(cluster(), "s", answering({{"sbatch", {.code = 1, .out = "", .err = text}}}));
    });
  };
  EXPECT_EQ(refused("sbatch: error: Invalid account or account/partition combination specified\n")
                .substr(0, 40),
            "78 c.yaml:2: SLURM refuses the job: got ");
  EXPECT_EQ(
      refused("Requested time limit is invalid (missing or exceeds some limit)").substr(0, 11),
      "78 c.yaml:4");
  EXPECT_EQ(refused("Unable to contact slurm controller").substr(0, 2), "69");
}

TEST(Slurm, TheJobsNumberIsReadFromSbatch) {
  const auto submit = [](const std::string& out) {
    return submit_script(cluster(), "s",
                         answering({{"sbatch", {.code = 0, .out = out, .err = ""}}}));
  };
  EXPECT_EQ(submit("123\n"), "123");
  EXPECT_EQ(submit("123;cluster\n"), "123");
  EXPECT_EQ(failure([&] { submit("Submitted\n"); }).substr(0, 2), "69");
}

TEST(Slurm, StatesComeFromTheQueueThenFromMemoryThenFromAccounting) {
  std::map<std::string, Captured> answers;
  answers["squeue"] = {
      .code = 0, .out = "7_0|RUNNING|1:02|n1|None\n7_1|PENDING|0:00||Priority\n", .err = ""};
  auto states = job_states("7", answering(answers));
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0].state, "RUNNING");
  EXPECT_EQ(states[1].reason, "Priority");
  answers["squeue"] = {.code = 1, .out = "", .err = "Invalid job id specified"};
  answers["scontrol"] = {
      .code = 0,
      .out =
          "JobId=7 JobName=a JobState=COMPLETED Reason=None ExitCode=75:0 RunTime=00:01:00 "
          "NodeList=n1\n",
      .err = ""};
  states = job_states("7", answering(answers));
  ASSERT_EQ(states.size(), 1u);
  EXPECT_EQ(states[0].state, "COMPLETED");
  EXPECT_EQ(states[0].exit_code, "75:0");
  answers["scontrol"] = {.code = 1, .out = "", .err = "Invalid job id specified"};
  answers["sacct"] = {.code = 0, .out = "7|FAILED|00:01:00|n1|75:0\n", .err = ""};
  EXPECT_EQ(job_states("7", answering(answers))[0].state, "FAILED");
  answers.erase("sacct");
  EXPECT_EQ(job_states("7", answering(answers))[0].state, "");
}

TEST(Slurm, CancellingAsksForACheckpointUnlessItIsToBeNow) {
  std::vector<std::string> asked;
  const RunCommand run = answering({{"scancel", {}}}, &asked);
  cancel_job("7", false, run);
  cancel_job("7", true, run);
  EXPECT_EQ(asked,
            (std::vector<std::string>{"scancel --state=PENDING 7",
                                      "scancel --state=RUNNING --signal=USR1 7", "scancel 7"}));
}

}  // namespace
}  // namespace hone::launch
