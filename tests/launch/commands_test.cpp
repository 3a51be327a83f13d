// The commands and scripts that hone launch writes, against goldens.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "launch/mpirun_line.h"
#include "launch/sbatch_script.h"
#include "launch/shell.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = test::kSourceDir;
const fs::path kGolden = kSource / "tests/golden/launch";

Job make_job(const std::vector<std::string>& sweeps = {}) {
  Job job;
  job.program = "/opt/hone/bin/hone";
  job.recipe = "/home/me/recipe.yaml";
  job.output_dir = "/home/me/runs/demo";
  job.working_folder = "/home/me";
  job.overrides = {"learning_rate=1e-4"};
  job.points = sweep_points(sweeps, job.output_dir);
  job.name = job_name(job.output_dir);
  return job;
}

Cluster config(const std::string& name) {
  return load_cluster(kSource / "configs/clusters" / (name + ".yaml"));
}

// With HONE_WRITE_GOLDEN set it is written instead.
void expect_golden(const std::string& name, const std::string& text) {
  if (std::getenv("HONE_WRITE_GOLDEN") != nullptr) test::write_text(kGolden / name, text);
  EXPECT_EQ(text, test::slurp(kGolden / name)) << name;
}

void expect_bash_reads(const std::string& script) {
  test::TemporaryFolder folder;
  test::write_text(folder / "script", script);
  const auto result = test::run_process({"bash", "-n", (folder / "script").string()});
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST(MpirunLine, OfTheConfigsIsTheGoldenOne) {
  for (const char* name : {"laptop", "mpirun-hosts"}) {
    const Job job = make_job();
    const auto command =
        mpirun_command(config(name), job, job.points[0], Start::kFresh, {"HF_HOME"});
    expect_golden(std::string(name) + ".txt", command_text(command) + "\n");
  }
}

TEST(MpirunLine, OneRankNeedsNoMpirun) {
  const Cluster cluster = parse_cluster("launcher: mpirun\nthreads_per_rank: 3\n", "c.yaml");
  const Job job = make_job();
  EXPECT_EQ(command_text(mpirun_command(cluster, job, job.points[0], Start::kResume)),
            "OMP_NUM_THREADS=3 HONE_RANKS=1 /opt/hone/bin/hone train /home/me/recipe.yaml --set "
            "learning_rate=1e-4 --resume");
  const Cluster elsewhere = parse_cluster("launcher: mpirun\nhosts: [node01]\n", "c.yaml");
  EXPECT_EQ(command_text(mpirun_command(elsewhere, job, job.points[0], Start::kFresh))
                .find("HONE_RANKS=1 mpirun -np 1 --host node01:1 "),
            0u)
      << "a rank meant for another machine must not run on this one";
}

TEST(MpirunLine, ContainerModulesAndSetUpStandAroundTheProgram) {
  const Cluster cluster = parse_cluster(
      "launcher: mpirun\nranks_per_node: 2\ngpus_per_node: 2\nmodules: [openmpi]\n"
      "setup: [ulimit -l unlimited]\nenvironment: {A: it's}\nmpirun_options: [--tag-output]\n"
      "container: {image: i.sif, mounts: ['/a:/b'], options: [--cleanenv]}\n",
      "c.yaml");
  Job job = make_job();
  job.program = cluster.program;
  const auto command = mpirun_command(cluster, job, job.points[0], Start::kOverwrite);
  ASSERT_EQ(command.words.size(), 3u);
  EXPECT_EQ(command.words[1], "-lc");
  EXPECT_EQ(command.words[2],
            "set -e; module load openmpi; ulimit -l unlimited\nexec mpirun -np 2 --map-by "
            "ppr:2:node --bind-to none --mca odls_base_sigkill_timeout 2 -x A -x HONE_RANKS "
            "--tag-output apptainer exec --nv --bind /a:/b --cleanenv i.sif hone train "
            "/home/me/recipe.yaml --set learning_rate=1e-4 --overwrite");
  EXPECT_EQ(command.environment[0], (std::pair<std::string, std::string>("A", "it's")));
}

TEST(MpirunLine, ThreadsOfTheEnvironmentWin) {
  const Cluster cluster = parse_cluster(
      "launcher: mpirun\nthreads_per_rank: 3\nenvironment: {OMP_NUM_THREADS: 5}\n", "c.yaml");
  const Job job = make_job();
  EXPECT_EQ(mpirun_command(cluster, job, job.points[0], Start::kFresh).environment,
            (std::vector<std::pair<std::string, std::string>>{{"OMP_NUM_THREADS", "5"},
                                                              {"HONE_RANKS", "1"}}));
}

TEST(SbatchScript, OfTheConfigsIsTheGoldenOneAndBashReadsIt) {
  for (const char* name : {"slurm-cpu", "slurm-8xh100"}) {
    const std::string script = sbatch_script(config(name), make_job());
    expect_golden(std::string(name) + ".sbatch", script);
    expect_bash_reads(script);
  }
  Job job = make_job({"learning_rate=1e-4,2e-4", "seed=1,2"});
  job.dependency = "afterok:12";
  const Cluster cluster = config("slurm-multi-node");
  job.program = cluster.program;
  expect_golden("slurm-multi-node-sweep.sbatch", sbatch_script(cluster, job));
  expect_bash_reads(sbatch_script(cluster, job));
}

TEST(SbatchScript, QuotesWhatAShellWouldTakeApart) {
  Job job = make_job();
  job.output_dir = "/home/me/it's $HOME";
  job.working_folder = "/home/me/a \"b\"";
  job.overrides = {"model_name_or_path=a'b $(rm)"};
  job.points = sweep_points({}, job.output_dir);
  job.start = Start::kOverwrite;
  const std::string script = sbatch_script(config("slurm-cpu"), job);
  expect_bash_reads(script);
  for (const char* text : {"#SBATCH --chdir=\"/home/me/a \\\"b\\\"\"\n",
                           "#SBATCH --output=\"/home/me/it's $HOME/launch/log.txt\"\n",
                           "output_dir='/home/me/it'\\''s $HOME'\n",
                           "--set 'model_name_or_path=a'\\''b $(rm)' ", "--overwrite"}) {
    EXPECT_NE(script.find(text), std::string::npos) << text << script;
  }
}

TEST(Shell, WordsComeBackAsTheyWere) {
  const std::vector<std::string> words = {"a",   "",   "a b", "it's", "$x",
                                          "`x`", "\\", "\"",  "*",    "ä"};
  const auto result = test::run_process({"bash", "-c", "printf '%s\\n' " + shell_line(words)});
  std::string expected;
  for (const std::string& word : words) expected += word + "\n";
  EXPECT_EQ(result.out, expected);
  EXPECT_EQ(shell_line({"--set", "a=1e-4,b"}), "--set a=1e-4,b");
}

TEST(Sweep, EveryValueMeetsEveryOther) {
  const auto points = sweep_points({"a=1,2", "b.c=x/y,z"}, "/out");
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].output_dir, "/out/a-1_b.c-x-y");
  EXPECT_EQ(points[3].overrides,
            (std::vector<std::string>{"a=2", "b.c=z", "output_dir=/out/a-2_b.c-z"}));
}

TEST(Sweep, WhatIsNoListOrWouldShareAFolderIsWrongUsage) {
  const std::vector<std::vector<std::string>> cases = {
      {"a"}, {"=1"}, {"a="}, {"a=1,"}, {"output_dir=x,y"}, {"a=1,1"}, {"a=x/y,x-y"}};
  for (const auto& sweeps : cases) {
    try {
      sweep_points(sweeps, "/out");
      FAIL() << sweeps[0];
    } catch (const core::Error& e) {
      EXPECT_EQ(e.exit_code(), 64) << sweeps[0];
    }
  }
}

}  // namespace
}  // namespace hone::launch
