#include "models/spec/shard_plan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "tests/support/model_failure.h"
#include "tests/support/paths.h"

namespace hone::models {
namespace {

using parallel::Layout;
using parallel::Slicer;
using parallel::TensorSlice;

ModelSpec spec_of(int64_t heads, int64_t kv_heads, int64_t vocab = 100, int64_t intermediate = 48) {
  ModelSpec spec{.vocab_size = vocab,
                 .hidden_size = heads * 4,
                 .intermediate_size = intermediate,
                 .num_heads = heads,
                 .num_kv_heads = kv_heads,
                 .head_dim = 4,
                 .q_bias = true,
                 .k_bias = true,
                 .v_bias = true,
                 .o_bias = true,
                 .mlp_bias = true,
                 .qk_norm = true};
  spec.layers.resize(2);
  return spec;
}

ModelSpec smollm2() {
  ModelSpec spec = spec_of(9, 3, 49152, 1536);
  spec.tie_word_embeddings = true;
  return spec;
}

struct Keyed {
  std::string key;
  std::vector<int64_t> shape;
};

// Every tensor of the model, and the adapters of every module that can have one.
std::vector<Keyed> tensors_of(const ModelSpec& spec) {
  constexpr int64_t kRank = 3;
  const std::string weight = ".weight";
  std::vector<Keyed> tensors;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    tensors.push_back({parameter.name, parameter.shape});
    if (parameter.shape.size() != 2) continue;
    const std::string module = parameter.name.substr(0, parameter.name.size() - weight.size());
    std::vector<int64_t> in_out{parameter.shape[1], parameter.shape[0]};
    if (module.ends_with("embed_tokens")) std::swap(in_out[0], in_out[1]);
    tensors.push_back({module + ".lora_A", {kRank, in_out[0]}});
    tensors.push_back({module + ".lora_B", {in_out[1], kRank}});
  }
  return tensors;
}

// How many of `count` ranks have, and own, each element of the tensor.
struct Tally {
  std::vector<int> having, owning;
};

Tally tally(const ModelSpec& spec, const Keyed& tensor, int64_t count) {
  int64_t numel = 1;
  for (const int64_t size : tensor.shape) numel *= size;
  Tally result{std::vector<int>(static_cast<size_t>(numel)),
               std::vector<int>(static_cast<size_t>(numel))};
  const auto add = [](const std::vector<parallel::SliceRun>& runs, std::vector<int>& counts) {
    for (const auto& run : runs)
      for (int64_t i = 0; i < run.count; ++i) ++counts.at(static_cast<size_t>(run.whole_begin + i));
  };
  for (int64_t index = 0; index < count; ++index) {
    const TensorSlice slice = slice_of(spec, tensor.key, tensor.shape, {index, count});
    const parallel::ElementRange all{0, parallel::slice_numel(tensor.shape, slice)};
    add(parallel::slice_runs(tensor.shape, slice, all), result.having);
    add(parallel::owned_runs(tensor.shape, slice, all), result.owning);
  }
  return result;
}

void expect_covered_and_owned_once(const ModelSpec& spec, int64_t count) {
  for (const Keyed& tensor : tensors_of(spec)) {
    SCOPED_TRACE(tensor.key + " on " + std::to_string(count));
    const Tally tallied = tally(spec, tensor, count);
    EXPECT_EQ(std::ranges::count(tallied.having, 0), 0);
    EXPECT_EQ(std::ranges::count(tallied.owning, 1), static_cast<int64_t>(tallied.owning.size()));
    for (int64_t index = 0; index < count; ++index) {
      const TensorSlice slice = slice_of(spec, tensor.key, tensor.shape, {index, count});
      bool shares = false;
      const parallel::ElementRange all{0, parallel::slice_numel(tensor.shape, slice)};
      for (const auto& run : parallel::slice_runs(tensor.shape, slice, all))
        for (int64_t i = 0; i < run.count; ++i)
          shares = shares || tallied.having[static_cast<size_t>(run.whole_begin + i)] > 1;
      EXPECT_EQ(slice.is_shared, shares) << index;
    }
  }
}

// Every local query head must find the KV head that it uses in the model.
void expect_heads_find_theirs(const ModelSpec& spec, int64_t count, int64_t cp) {
  const int64_t heads_per_kv = spec.num_heads / spec.num_kv_heads;
  int64_t seen = 0;
  for (int64_t index = 0; index < count; ++index) {
    SCOPED_TRACE("rank " + std::to_string(index) + " of " + std::to_string(count) + ", cp " +
                 std::to_string(cp));
    const LocalHeads local = local_heads(spec, {index, count}, cp);
    EXPECT_EQ(local.num_heads % cp, 0);
    EXPECT_EQ((local.num_heads / cp) % local.group, 0) << "a group reaches over two ranks";
    ASSERT_EQ(static_cast<int64_t>(local.kv_of_group.size()) * local.group, local.num_heads);
    for (int64_t head = 0; head < local.num_heads; ++head) {
      const int64_t kv = local.kv_of_group[static_cast<size_t>(head / local.group)];
      EXPECT_LT(kv, local.num_kv_heads);
      EXPECT_EQ(local.first_kv_head + kv, seen / heads_per_kv) << head;
      ++seen;
    }
    const std::string key = "model.layers.0.self_attn.k_proj.bias";
    const auto range =
        slice_of(spec, key, {spec.num_kv_heads * spec.head_dim}, {index, count}).range;
    EXPECT_EQ(range.begin, local.first_kv_head * spec.head_dim);
    EXPECT_EQ(range.size(), local.num_kv_heads * spec.head_dim);
  }
  EXPECT_EQ(seen, spec.num_heads);
}

void expect_sound_for_all_it_divides_into(const ModelSpec& spec) {
  for (const int64_t count : {1, 2, 3, 4}) {
    if (spec.num_heads % count != 0) continue;
    expect_covered_and_owned_once(spec, count);
    for (const int64_t cp : {1, 2, 4}) {
      if (spec.num_heads % (count * cp) == 0) expect_heads_find_theirs(spec, count, cp);
    }
  }
}

TEST(ShardPlan, EveryElementOfEveryFamilyIsOwnedOnce) {
  const auto folder = std::filesystem::path(test::kSourceDir) / "tests/golden/models";
  for (const char* model : {"llama", "llama_gqa_bias", "llama_untied_llama3rope", "mistral",
                            "qwen2", "qwen2_window", "qwen3"}) {
    SCOPED_TRACE(model);
    expect_sound_for_all_it_divides_into(read_model_spec(folder / model));
  }
}

TEST(ShardPlan, HeadsThatDoNotMatchTheRanksAreOwnedOnceAndFindTheirKeyValueHeads) {
  for (const auto& [heads, kv_heads] :
       std::vector<std::pair<int64_t, int64_t>>{{9, 3}, {12, 3}, {8, 2}, {8, 1}, {8, 8}, {12, 2}}) {
    SCOPED_TRACE(std::to_string(heads) + " heads, " + std::to_string(kv_heads));
    expect_sound_for_all_it_divides_into(spec_of(heads, kv_heads));
  }
}

TEST(ShardPlan, UnevenVocabularyAndIntermediateSizeLeaveNothingOut) {
  expect_sound_for_all_it_divides_into(spec_of(12, 4, 101, 47));
  const TensorSlice slice = slice_of(spec_of(4, 4, 101), "lm_head.weight", {101, 16}, {2, 4});
  EXPECT_EQ(slice.range, (parallel::ElementRange{50, 75}));
}

TEST(ShardPlan, SmolLm2OverThreeHasAKeyValueHeadARank) {
  const ModelSpec spec = smollm2();
  for (const int64_t index : {0, 1, 2}) {
    const LocalHeads local = local_heads(spec, {index, 3}, 1);
    EXPECT_EQ(local.num_heads, 3);
    EXPECT_EQ(local.first_kv_head, index);
    EXPECT_EQ(local.kv_of_group, std::vector<int64_t>{0});
    EXPECT_FALSE(
        slice_of(spec, "model.layers.1.self_attn.v_proj.weight", {12, 36}, {index, 3}).is_shared);
  }
  EXPECT_EQ(local_heads(spec, {}, 3).group, 3);
}

TEST(ShardPlan, NeighboursShareAKeyValueHeadThatBothUse) {
  const ModelSpec spec = spec_of(12, 3);
  const std::string key = "model.layers.0.self_attn.k_proj.weight";
  const TensorSlice first = slice_of(spec, key, {12, 48}, {0, 2}),
                    second = slice_of(spec, key, {12, 48}, {1, 2});
  EXPECT_EQ(first, (TensorSlice{.dim = 0, .range = {0, 8}, .owned = {0, 8}, .is_shared = true}));
  EXPECT_EQ(second, (TensorSlice{.dim = 0, .range = {4, 12}, .owned = {8, 12}, .is_shared = true}));
  const LocalHeads local = local_heads(spec, {1, 2}, 1);
  EXPECT_EQ(local.group, 2) << "query heads 6, 7 | 8 to 11";
  EXPECT_EQ(local.kv_of_group, (std::vector<int64_t>{0, 1, 1}));
}

TEST(ShardPlan, MoreRanksThanKeyValueHeadsHaveTheSameOneWhole) {
  const ModelSpec spec = spec_of(8, 2);
  const TensorSlice slice =
      slice_of(spec, "model.layers.0.self_attn.v_proj.lora_B", {8, 3}, {3, 4});
  EXPECT_EQ(slice.range, (parallel::ElementRange{4, 8}));
  EXPECT_EQ(slice.owned.size(), 0);
  EXPECT_TRUE(slice.is_shared);
}

TEST(ShardPlan, AdaptersAreCutWhereTheirModuleIs) {
  const ModelSpec spec = spec_of(8, 4);
  const auto dim_cut = [&](const std::string& key, const std::vector<int64_t>& shape) {
    const TensorSlice slice = slice_of(spec, key, shape, {1, 2});
    return slice.range.size() == shape[static_cast<size_t>(slice.dim)] ? -1 : slice.dim;
  };
  const std::string block = "model.layers.0.";
  EXPECT_EQ(dim_cut(block + "self_attn.q_proj.lora_A", {3, 32}), -1);
  EXPECT_EQ(dim_cut(block + "self_attn.q_proj.lora_B", {32, 3}), 0);
  EXPECT_EQ(dim_cut(block + "mlp.down_proj.lora_A", {3, 48}), 1);
  EXPECT_EQ(dim_cut(block + "mlp.down_proj.lora_B", {32, 3}), -1);
  EXPECT_EQ(dim_cut(block + "self_attn.o_proj.bias", {32}), -1);
  EXPECT_EQ(dim_cut(block + "mlp.up_proj.bias", {48}), 0);
  EXPECT_EQ(dim_cut("model.embed_tokens.lora_A", {3, 100}), 1);
  EXPECT_EQ(dim_cut("model.embed_tokens.lora_B", {32, 3}), -1);
  EXPECT_EQ(dim_cut("lm_head.lora_A", {3, 32}), -1);
  EXPECT_EQ(dim_cut("lm_head.lora_B", {100, 3}), 0);
}

TEST(ShardPlan, UnknownModulesAreNamedBesideTheKnown) {
  expect_failure(
      [] {
        slice_of(spec_of(4, 4), "model.layers.0.mlp.router.weight", {4, 16}, {0, 2});
      },
      core::ErrorKind::kBadRecipe,
      {"the shard plan does not know module model.layers.0.mlp.router", "down_proj"});
  expect_failure(
      [] {
        slice_of(spec_of(4, 4), "model.norm.lora_A", {3, 16}, {0, 2});
      },
      core::ErrorKind::kBadRecipe, {"model.norm"});
}

TEST(ShardPlan, ProblemsNameSizeAndEquation) {
  using Problems = std::vector<ShardPlanProblem>;
  const ModelSpec spec = smollm2();
  EXPECT_EQ(shard_plan_problems(spec, {.dp_shard = 5, .tp = 3, .pp = 2}, 1), Problems{});
  EXPECT_EQ(shard_plan_problems(spec, {.tp = 2}, 1),
            (Problems{{"tensor_parallel_size",
                       "num_attention_heads 9 / tensor_parallel_size 2 leaves 1: query heads must "
                       "divide evenly"}}));
  EXPECT_EQ(shard_plan_problems(spec, {.cp = 3, .tp = 9}, 1),
            (Problems{{"context_parallel_size",
                       "num_attention_heads 9 / (tensor_parallel_size 9 x context_parallel_size 3) "
                       "leaves 9: the ranks exchange query heads for tokens, so they must divide "
                       "evenly"}}));
  EXPECT_EQ(shard_plan_problems(spec, {.pp = 2}, 2),
            (Problems{{"pipeline_parallel_size",
                       "pipeline_parallel_size 2 x 2 chunks = 4 is more than the model's 2 "
                       "layers"}}));
  EXPECT_EQ(shard_plan_problems(spec, {.pp = 40}, 1),
            (Problems{{"pipeline_parallel_size",
                       "pipeline_parallel_size 40 x 1 chunk = 40 is more than the model's 2 "
                       "layers"}}));
  EXPECT_EQ(shard_plan_problems(spec, {}, 7), Problems{}) << "one rank has no chunks";
  EXPECT_EQ(
      shard_plan_problems(spec_of(8, 8, 7, 6), {.tp = 8}, 1),
      (Problems{{"tensor_parallel_size", "intermediate_size 6 is less than tensor_parallel_size 8"},
                {"tensor_parallel_size", "vocab_size 7 is less than tensor_parallel_size 8"}}));
  EXPECT_EQ(shard_plan_problems(spec, {.tp = 2, .pp = 3}, 1).size(), 2u) << "all at once";
}

TEST(ShardPlan, HeadsThatDoNotDivideAreNeverCut) {
  const auto cut = [] {
    slice_of(smollm2(), "model.layers.0.self_attn.o_proj.weight", {36, 36}, {0, 2});
  };
  expect_failure(cut, core::ErrorKind::kInternal);
  expect_failure([] { local_heads(smollm2(), {0, 3}, 2); }, core::ErrorKind::kInternal);
}

TEST(ShardPlan, CostsOfStagesAreTheirMatrixProducts) {
  ModelSpec spec = spec_of(2, 1, 10, 5);  // D 8, q 8, kv 4
  spec.layers[1] = {.mixer = MixerKind::kSlidingAttention, .sliding_window = 2};
  const std::vector<double> costs = stage_costs(spec, 3);
  const double weights = 8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 5;
  EXPECT_EQ(costs, (std::vector<double>{0, 6 * 3 * weights + 12 * 6 * 8,
                                        6 * 3 * weights + 12 * 5 * 8, 6 * 3 * 10 * 8}));
}

}  // namespace
}  // namespace hone::models
