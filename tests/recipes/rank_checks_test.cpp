// What a recipe becomes on a number of ranks.
#include "recipes/rank_checks.h"

#include <regex>

#include "recipes/yaml_value.h"
#include "tests/recipes/support.h"
#include "tests/support/paths.h"

namespace hone::recipes {
namespace {

using parallel::Layout;

class RankChecks : public RecipeTest {
 protected:
  // Of kSound and `lines`.
  Recipe on_ranks(int64_t num_ranks, const std::string& lines) const {
    return read(kSound + lines, {}, num_ranks);
  }
  std::string problem_on_ranks(int64_t num_ranks, const std::string& lines) const {
    return problem(lines, {}, num_ranks);
  }
  // micro-batch, accumulation of a rank, rows of a step
  std::vector<int64_t> sizes(int64_t num_ranks, const std::string& lines) const {
    const Recipe r = on_ranks(num_ranks, lines);
    return {r.loader.micro_batch_size, r.accumulation, r.global_batch_size};
  }
};

TEST_F(RankChecks, RanksLeftOverReplicate) {
  EXPECT_EQ(on_ranks(1, "").layout, Layout{});
  EXPECT_EQ(on_ranks(6, "").layout, (Layout{.dp_replicate = 6}));
  EXPECT_EQ(on_ranks(6, "dp_shard_size: 2\n").layout, (Layout{.dp_replicate = 3, .dp_shard = 2}));
  EXPECT_EQ(on_ranks(4, "dp_replicate_size:\n").layout, (Layout{.dp_replicate = 4}))
      << "an empty value is none";
}

TEST_F(RankChecks, ResolvedRecipeNamesTheReplicasAndReadsBackOnAsManyRanks) {
  const Recipe r = on_ranks(6, "dp_shard_size: 2\nglobal_batch_size: 12\n");
  EXPECT_EQ(r.resolved.at("dp_replicate_size"), 3);
  EXPECT_EQ(r.resolved.at("gradient_accumulation_steps"), 2);
  const std::string yaml = dump_yaml(r.resolved);
  const Recipe again = read(yaml, {}, 6);
  EXPECT_EQ(again.resolved, r.resolved) << yaml;
  EXPECT_EQ(again.loader.gradient_accumulation_steps, r.loader.gradient_accumulation_steps);
}

TEST_F(RankChecks, WhoDoesNotTrainReadsARecipeOfAnyRanks) {
  EXPECT_EQ(on_ranks(kAnyRanks, "dp_shard_size: 3\n").layout, Layout{.dp_shard = 3});
  EXPECT_EQ(on_ranks(kAnyRanks, "dp_shard_size: 3\ndp_replicate_size: 2\n").layout.num_ranks(), 6);
  EXPECT_NE(problem_on_ranks(kAnyRanks, "dp_shard_size: 1048576\ndp_replicate_size: 1048576\n")
                .find("more than 16777216 ranks"),
            std::string::npos);
}

TEST_F(RankChecks, SizesThatDoNotDivideTheRanksNameKeyAndEquation) {
  EXPECT_EQ(problem_on_ranks(3, "dp_shard_size: 2\n"),
            "r.yaml:5: dp_shard_size: dp_shard 2 x cp 1 x tp 1 x pp 1 = 2 does not divide the "
            "run's 3 ranks");
  EXPECT_EQ(problem_on_ranks(1, "tensor_parallel_size: 2\n"),
            "r.yaml:5: tensor_parallel_size: dp_shard 1 x cp 1 x tp 2 x pp 1 = 2 does not divide "
            "the run's 1 rank");
}

TEST_F(RankChecks, GivenSizesMustMultiplyToTheRanks) {
  EXPECT_EQ(problem_on_ranks(4, "dp_replicate_size: 1\ndp_shard_size: 2\n"),
            "r.yaml:6: dp_shard_size: pp 1 x dp_replicate 1 x dp_shard 2 x cp 1 x tp 1 needs 2 "
            "ranks, the run has 4");
  EXPECT_EQ(problem_on_ranks(2, "dp_replicate_size: 1\n"),
            "r.yaml:5: dp_replicate_size: pp 1 x dp_replicate 1 x dp_shard 1 x cp 1 x tp 1 needs "
            "1 rank, the run has 2");
}

TEST_F(RankChecks, AllAxesMakeTheLayoutAndReplicasAreWhatIsLeft) {
  const Recipe r = on_ranks(
      32, "context_parallel_size: 2\ntensor_parallel_size: 2\npipeline_parallel_size: 4\n");
  EXPECT_EQ(r.layout, (Layout{.dp_replicate = 2, .cp = 2, .tp = 2, .pp = 4}));
  EXPECT_EQ(r.global_batch_size, 2) << "ranks of the other axes compute the same rows";
}

TEST_F(RankChecks, InterleavedPipelinesHaveTwoChunksARankIfNotSaidOtherwise) {
  const std::string pipeline = "pipeline_parallel_size: 2\n",
                    interleaved = "pipeline_schedule: interleaved\n";
  EXPECT_EQ(on_ranks(2, pipeline).parallel.chunks_per_rank, 1);
  EXPECT_EQ(on_ranks(2, pipeline + interleaved).parallel.chunks_per_rank, 2);
  const Recipe r =
      on_ranks(2, pipeline + interleaved + "virtual_pipeline_model_parallel_size: 3\n");
  EXPECT_EQ(r.parallel.chunks_per_rank, 3);
  EXPECT_EQ(
      read(dump_yaml(on_ranks(2, pipeline + interleaved).resolved), {}, 2).parallel.chunks_per_rank,
      2)
      << "a resolved recipe reads back";
  EXPECT_EQ(on_ranks(2, pipeline + "virtual_pipeline_size: 1\n").parallel.chunks_per_rank, 1);
}

TEST_F(RankChecks, ChunksWithoutAScheduleThatHasThemAreRefused) {
  EXPECT_EQ(
      problem_on_ranks(2, "pipeline_parallel_size: 2\nvirtual_pipeline_size: 3\n"),
      "r.yaml:6: virtual_pipeline_size: got 3, and pipeline_schedule 1f1b has 1 chunk a rank: "
      "expected pipeline_schedule: interleaved beside it");
  const Recipe alone = on_ranks(2, "pipeline_schedule: interleaved\n");
  EXPECT_EQ(alone.parallel.chunks_per_rank, 1);
  EXPECT_EQ(alone.notes, std::vector<std::string>{
                             "pipeline_schedule has no effect while pipeline_parallel_size is 1"});
}

TEST_F(RankChecks, LayoutProblemsComeWithTheOthersInLineOrder) {
  const auto found = problems(kSound + "seed: x\ndp_shard_size: 2\nwibble: 1\n", {}, 3);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_TRUE(found[1].starts_with("r.yaml:6: dp_shard_size: ")) << found[1];
}

TEST_F(RankChecks, ParallelOptionsArrive) {
  const ParallelOptions usual = on_ranks(4, "").parallel;
  EXPECT_EQ(usual.shard_level, 3);
  EXPECT_EQ(usual.backend, "auto");
  EXPECT_FALSE(usual.strict);
  const Recipe r = on_ranks(4, "dp_shard_size: 2\nzero_stage: 1\nbackend: mpi\nstrict: true\n");
  EXPECT_EQ(r.parallel.shard_level, 1);
  EXPECT_EQ(r.parallel.backend, "mpi");
  EXPECT_TRUE(r.parallel.strict);
  EXPECT_EQ(problem_on_ranks(2, "dp_shard_level: 4\n"),
            "r.yaml:5: dp_shard_level: got '4', expected a whole number, at least 1 and at most 3");
  EXPECT_EQ(problem_on_ranks(2, "backend: gloo\n"),
            "r.yaml:5: backend: got 'gloo', expected one of auto, mpi, nccl");
}

TEST_F(RankChecks, StrictNeedsAPowerOfTwoOfDataParallelRanks) {
  for (const int64_t num_ranks : {1, 2, 4, 8})
    EXPECT_TRUE(on_ranks(num_ranks, "strict: true\n").parallel.strict) << num_ranks;
  EXPECT_EQ(problem_on_ranks(6, "strict: true\ndp_shard_size: 2\n"),
            "r.yaml:5: strict: needs a power of two of data-parallel ranks, got dp_replicate 3 x "
            "dp_shard 2 = 6");
  EXPECT_EQ(problem_on_ranks(6, "strict: true\ncontext_parallel_size: 3\n"),
            "r.yaml:5: strict: needs a power of two of ranks that gradients are summed over, got "
            "dp_replicate 2 x dp_shard 1 x cp 3 = 6");
  EXPECT_TRUE(on_ranks(9, "strict: true\ntensor_parallel_size: 3\npipeline_parallel_size: 3\n")
                  .parallel.strict);
}

TEST_F(RankChecks, NcclIsRefusedWhereItCannotDoWhatIsAsked) {
  EXPECT_EQ(on_ranks(2, "backend: nccl\n").parallel.backend, "nccl");
  EXPECT_EQ(problem_on_ranks(2, "backend: nccl\nstrict: true\n"),
            "r.yaml:5: backend: nccl sums in an order of its own, and strict: true needs a fixed "
            "one: expected auto or mpi");
  EXPECT_EQ(problem_on_ranks(2, "device: cpu\nbackend: nccl\n"),
            "r.yaml:6: backend: nccl works between GPUs, and device is cpu: expected auto or mpi");
}

TEST_F(RankChecks, LevelWithoutShardsIsNoted) {
  EXPECT_EQ(on_ranks(2, "dp_shard_level: 2\n").notes,
            std::vector<std::string>{"dp_shard_level has no effect while dp_shard_size is 1"});
  EXPECT_TRUE(on_ranks(2, "dp_shard_level: 2\ndp_shard_size: 2\n").notes.empty());
  EXPECT_TRUE(on_ranks(2, "").notes.empty());
}

TEST_F(RankChecks, AnyTwoBatchSizesGiveTheThird) {
  using Sizes = std::vector<int64_t>;
  EXPECT_EQ(sizes(1, "micro_batch_size: 2\ngradient_accumulation_steps: 3\n"), (Sizes{2, 3, 6}));
  EXPECT_EQ(sizes(1, "micro_batch_size: 2\nglobal_batch_size: 8\n"), (Sizes{2, 4, 8}));
  EXPECT_EQ(sizes(1, "gradient_accumulation_steps: 4\nglobal_batch_size: 8\n"), (Sizes{2, 4, 8}));
  EXPECT_EQ(sizes(1, "global_batch_size: 8\n"), (Sizes{1, 8, 8}));
  const std::string three =
      "micro_batch_size: 2\ngradient_accumulation_steps: 4\nglobal_batch_size: ";
  EXPECT_EQ(sizes(1, three + "8\n"), (Sizes{2, 4, 8}));
  EXPECT_EQ(sizes(4, three + "32\n"), (Sizes{2, 4, 32}));
  EXPECT_EQ(sizes(4, "gradient_accumulation_steps: 2\nglobal_batch_size: 16\n"), (Sizes{2, 2, 16}));
  EXPECT_EQ(sizes(4, ""), (Sizes{1, 1, 4})) << "nothing given: a step grows with the ranks";
}

TEST_F(RankChecks, TheLoaderCountsMicroBatchesOfAllDataParallelRanks) {
  const Recipe r = on_ranks(4,
                            "dp_replicate_size: 2\ndp_shard_size: 2\nmicro_batch_size: 2\n"
                            "gradient_accumulation_steps: 3\n");
  EXPECT_EQ(r.loader.gradient_accumulation_steps, 12);
  EXPECT_EQ(r.accumulation, 3);
  EXPECT_EQ(r.global_batch_size, 24);
}

TEST_F(RankChecks, GlobalBatchGivesTheSameStepsOnAnyNumberOfRanks) {
  const std::string lines = "global_batch_size: 16\nmicro_batch_size: 2\n";
  for (const int64_t num_ranks : {1, 2, 4, 8}) {
    for (const char* shards : {"", "dp_shard_size: 2\n"}) {
      if (num_ranks == 1 && *shards != '\0') continue;
      const Recipe r = on_ranks(num_ranks, lines + shards);
      EXPECT_EQ(r.loader.micro_batch_size, 2) << num_ranks;
      EXPECT_EQ(r.loader.gradient_accumulation_steps, 8) << num_ranks;
      EXPECT_EQ(r.accumulation, 8 / num_ranks);
      EXPECT_EQ(r.global_batch_size, 16);
    }
  }
  EXPECT_EQ(problem_on_ranks(3, lines),
            "r.yaml:5: global_batch_size: got 16, expected a multiple of micro_batch_size 2 x 3 "
            "data-parallel ranks = 6");
}

TEST_F(RankChecks, BatchSizesThatContradictShowTheEquation) {
  EXPECT_EQ(
      problem("micro_batch_size: 2\ngradient_accumulation_steps: 3\nglobal_batch_size: 7\n"),
      "r.yaml:7: global_batch_size: got 7, expected micro_batch_size 2 x "
      "gradient_accumulation_steps 3 x 1 data-parallel rank = 6 (leave one of the three out)");
  EXPECT_EQ(problem("micro_batch_size: 2\nglobal_batch_size: 7\n"),
            "r.yaml:6: global_batch_size: got 7, expected a multiple of micro_batch_size 2 x 1 "
            "data-parallel rank = 2");
}

TEST_F(RankChecks, BatchSizesNoStepCanHaveAreRefusedBeforeTheyOverflow) {
  EXPECT_EQ(problem_on_ranks(4, "gradient_accumulation_steps: 9000000000000000000\n"),
            "r.yaml:5: gradient_accumulation_steps: micro_batch_size 1 x "
            "gradient_accumulation_steps 9000000000000000000 x 4 data-parallel ranks is more than "
            "any step can have");
  EXPECT_NE(problem_on_ranks(4, "micro_batch_size: 9e15\nglobal_batch_size: 8\n")
                .find("expected a multiple of micro_batch_size 9000000000000000 x 4"),
            std::string::npos);
}

// "# mpirun -np 4 hone train ..." is of 4 ranks, "# hone train ..." of one.
int64_t ranks_of_command(const std::string& recipe) {
  const std::regex command(R"(^# (mpirun .*-np (\d+) .*)?hone train configs/)");
  std::smatch match;
  const std::string first = recipe.substr(0, recipe.find('\n'));
  EXPECT_TRUE(std::regex_search(first, match, command)) << first;
  return match[2].matched ? std::stoll(match[2]) : 1;
}

TEST_F(RankChecks, EveryCommittedRecipeIsSoundForTheRanksOfItsCommand) {
  std::filesystem::current_path(test::kSourceDir);
  int64_t most_ranks = 0;
  for (const std::filesystem::path& path : committed_recipes(".")) {
    const int64_t num_ranks = ranks_of_command(test::slurp(path));
    const Recipe recipe = load_recipe(path, {.num_ranks = num_ranks});
    EXPECT_TRUE(recipe.notes.empty()) << path << ": " << recipe.notes[0];
    most_ranks = std::max(most_ranks, num_ranks);
  }
  EXPECT_EQ(most_ranks, 4);
}

}  // namespace
}  // namespace hone::recipes
