// A rank's part of a model: the same values as of the whole, and no other byte.
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "models/flat_memory.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

LoadOptions options_of(bool lora, at::ScalarType dtype, const Sharding& sharding) {
  LoadOptions options{.compute_dtype = dtype, .train_base = !lora, .sharding = sharding};
  if (lora) {
    options.adapter.r = 3;  // parts begin inside rows
    options.adapter.target_modules = {"all-linear"};
  }
  return options;
}

at::Tensor part_of_flat(const at::Tensor& whole, const parallel::ElementRange& range) {
  return whole.narrow(0, range.begin, range.size());
}

TEST(Shards, KeptPartsAreThoseOfTheWholeModel) {
  for (const bool lora : {false, true}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const Model whole = load_model(golden_model("llama_gqa_bias"), options_of(lora, dtype, {}));
      for (const int64_t count : {2, 3, 5}) {
        for (int64_t index = 0; index < count; ++index) {
          const Model part =
              load_model(golden_model("llama_gqa_bias"),
                         options_of(lora, dtype, {.index = index, .count = count, .level = 3}));
          ASSERT_EQ(part.stages.size(), whole.stages.size());
          for (size_t s = 0; s < whole.stages.size(); ++s) {
            const Stage& mine = part.stages[s];
            const Stage& theirs = whole.stages[s];
            EXPECT_TRUE(
                at::equal(mine.kept.trainable, part_of_flat(theirs.trainable, mine.kept.range)));
            EXPECT_TRUE(
                at::equal(mine.kept.frozen, part_of_flat(theirs.frozen, mine.kept.frozen_range)));
            for (size_t p = 0; p < theirs.parameters.size(); ++p)
              EXPECT_EQ(mine.parameters[p].file_dtype, theirs.parameters[p].file_dtype);
          }
        }
      }
    }
  }
}

TEST(Shards, OnlyWhatTheLevelSaysHasMemory) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t level : {1, 2, 3}) {
      const Model model =
          load_model(golden_model("llama"),
                     options_of(false, dtype, {.index = 1, .count = 2, .level = level}));
      for (const Stage& stage : model.stages) {
        EXPECT_EQ(has_memory(stage.compute), level < 3) << stage.name;
        EXPECT_EQ(has_memory(stage.grads), level < 2) << stage.name;
        EXPECT_EQ(has_memory(stage.trainable), dtype == at::kFloat && level < 3) << stage.name;
        EXPECT_EQ(stage.kept.trainable.numel(), stage.kept.range.size());
        EXPECT_EQ(stage.kept.grads.numel(), stage.kept.range.size());
      }
    }
  }
}

// What this process asked the system to read so far, in bytes.
int64_t bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string name;
  int64_t bytes = 0;
  io >> name >> bytes;
  return name == "rchar:" ? bytes : -1;
}

int64_t bytes_read_to_load(const LoadOptions& options) {
  const int64_t before = bytes_read();
  const Model model = load_model(golden_model("llama"), options);
  return bytes_read() - before;
}

TEST(Shards, RankReadsTheBytesItKeepsAndNoOther) {
  const auto options = [](int64_t index, int64_t count) {
    return options_of(false, at::kFloat, {.index = index, .count = count, .level = 3});
  };
  const Model whole = load_model(golden_model("llama"), options(0, 1));
  const int64_t all = num_trainable(whole) * static_cast<int64_t>(sizeof(float));
  const int64_t overhead = bytes_read_to_load(options(0, 1)) - all;  // config.json, the header
  ASSERT_GT(overhead, 0);
  for (int64_t index = 0; index < 4; ++index) {
    const Model part = load_model(golden_model("llama"), options(index, 4));
    int64_t kept = 0;
    for (const Stage& stage : part.stages)
      kept += static_cast<int64_t>(stage.kept.trainable.nbytes());
    // Asking counts too, by a digit or two more each time.
    EXPECT_NEAR(static_cast<double>(bytes_read_to_load(options(index, 4)) - overhead),
                static_cast<double>(kept), 32)
        << index;
    EXPECT_LT(kept, all / 3) << index;
  }
}

// Every rank's of a layout.
struct Cut {
  int64_t count = 1, num_replicas = 1, tensor = 1, pipeline = 1;
};

std::vector<Sharding> shardings_of(const Cut& cut) {
  std::vector<Sharding> all;
  for (int64_t rank = 0; rank < cut.count * cut.num_replicas * cut.tensor * cut.pipeline; ++rank) {
    int64_t rest = rank;
    const auto next = [&rest](int64_t size) {
      const int64_t place = rest % size;
      rest /= size;
      return place;
    };
    Sharding sharding{.index = next(cut.count),
                      .count = cut.count,
                      .level = 3,
                      .replica = next(cut.num_replicas),
                      .num_replicas = cut.num_replicas,
                      .slicer = {.index = next(cut.tensor), .count = cut.tensor}};
    if (cut.pipeline > 1)
      sharding.pipeline = parallel::make_pipeline({1, 1, 1, 1}, cut.pipeline, 1);
    sharding.pipeline_rank = next(cut.pipeline);
    all.push_back(sharding);
  }
  return all;
}

// What all ranks would write, put together; every element by exactly one.
Tensors written_by_all(bool lora, const Cut& cut) {
  Tensors together;
  std::map<std::string, int64_t> num_written;
  for (const Sharding& sharding : shardings_of(cut)) {
    const Model model =
        load_model(golden_model("llama_gqa_bias"), options_of(lora, at::kFloat, sharding));
    for (const NamedTensor& named : tensors_to_save(model, "")) {
      const at::Tensor part = named.get();
      at::Tensor& whole = together[named.name];
      if (!whole.defined()) whole = at::zeros(named.shape, part.scalar_type());
      for (const parallel::SliceRun& run : named.runs) {
        whole.view({-1})
            .narrow(0, run.whole_begin, run.count)
            .copy_(part.narrow(0, run.slice_begin, run.count));
        num_written[named.name] += run.count;
      }
    }
  }
  for (const auto& [name, tensor] : together) EXPECT_EQ(num_written[name], tensor.numel()) << name;
  return together;
}

// Three ranks of the tensor axis have a key/value head and a half each.
TEST(Shards, WhatTheRanksWriteTogetherIsTheWholeModelOnce) {
  for (const bool lora : {false, true}) {
    const Tensors whole =
        saved_tensors(load_model(golden_model("llama_gqa_bias"), options_of(lora, at::kFloat, {})));
    for (const Cut& cut : std::vector<Cut>{{1, 1},
                                           {2, 1},
                                           {3, 1},
                                           {1, 4},
                                           {2, 2},
                                           {4, 3},
                                           {1, 1, 2},
                                           {1, 1, 3},
                                           {2, 1, 6},
                                           {1, 1, 1, 2},
                                           {3, 1, 3, 2},
                                           {2, 2, 2, 2}}) {
      const Tensors parts = written_by_all(lora, cut);
      ASSERT_EQ(parts.size(), whole.size());
      for (const auto& [name, tensor] : whole)
        EXPECT_TRUE(at::equal(parts.at(name), tensor)) << name;
    }
  }
}

TEST(FlatMemory, ViewsSeeWhatIsAttachedAndNothingAfterwards) {
  const at::Tensor flat = flat_without_memory(10, at::kFloat, at::kCPU);
  const at::Tensor view = flat.narrow(0, 2, 6).view({2, 3});
  EXPECT_FALSE(has_memory(flat));
  EXPECT_FALSE(has_memory(view));
  const at::Tensor first = at::arange(10, at::kFloat), second = first * 2;
  attach_memory(flat, first);
  EXPECT_TRUE(has_memory(view));
  EXPECT_EQ(view[1][0].item<float>(), 5);
  attach_memory(flat, second);
  EXPECT_EQ(view[1][0].item<float>(), 10);
  detach_memory(flat);
  EXPECT_FALSE(has_memory(view));
  EXPECT_EQ(second[5].item<float>(), 10);
}

TEST(FlatMemory, MemoryIsGivenBackWhenItIsDetached) {
  const at::Tensor flat = flat_without_memory(4, at::kFloat, at::kCPU);
  at::Tensor memory = at::ones({4});
  attach_memory(flat, memory);
  EXPECT_EQ(memory.use_count(), 2u);
  detach_memory(flat);
  EXPECT_EQ(memory.use_count(), 1u);
}

TEST(FlatMemory, MemoryThatDoesNotFitIsRefused) {
  const at::Tensor flat = flat_without_memory(4, at::kFloat, at::kCPU);
  EXPECT_THROW(attach_memory(flat, at::ones({5})), core::Error);
  EXPECT_THROW(attach_memory(flat, at::ones({4}, at::kBFloat16)), core::Error);
  EXPECT_THROW(attach_memory(flat, at::ones({4, 2}).select(1, 0)), core::Error);
}

}  // namespace
}  // namespace hone::models
