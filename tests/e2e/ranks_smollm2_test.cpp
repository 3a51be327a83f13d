// A real checkpoint on two ranks: the bits of one.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

TEST(RanksSmolLM2, FullTrainingShardedOnTwoRanksGivesTheBitsOfOne) {
  Workspace work;
  const ProcessResult imported = work.hone({"import", kSmolLM2Gguf, "me/smollm2"});
  ASSERT_EQ(imported.code, 0) << imported.err;
  work.write_recipe({{"model_name_or_path", "me/smollm2"},
                     {"adapter", ""},
                     {"eval_datasets", ""},
                     {"max_length", "96"},
                     {"micro_batch_size", "1"},
                     {"gradient_accumulation_steps", ""},
                     {"global_batch_size", "4"},
                     {"learning_rate", "1.0e-4"},
                     {"warmup_steps", "0"},
                     {"max_steps", "2"},
                     {"eval_steps", ""},
                     {"save_steps", ""},
                     {"strict", "true"}});
  ASSERT_EQ(train_on(work, {}, {"--set", "output_dir=one"}).code, 0);
  const ProcessResult two = mpirun(
      work, 2, {"train", "recipe.yaml", "--set", "dp_shard_size=2", "--set", "output_dir=two"});
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_EQ(timeless_metrics(work / "one" / "metrics.jsonl"),
            timeless_metrics(work / "two" / "metrics.jsonl"));
  EXPECT_TRUE(slurp(work / "one" / "model.safetensors") ==
              slurp(work / "two" / "model.safetensors"));
  for (const char* moments : {"exp_avg.safetensors", "exp_avg_sq.safetensors"}) {
    EXPECT_TRUE(slurp(work / "one" / "checkpoint-2" / "state" / moments) ==
                slurp(work / "two" / "checkpoint-2" / "state" / moments))
        << moments;
  }
  const core::Json run = core::read_json_file(work / "two" / "run.json");
  const core::Json whole = core::read_json_file(work / "one" / "run.json");
  for (const char* key : {"param_bytes", "grad_bytes", "optimizer_bytes"}) {
    for (const core::Json& bytes : run[key]) {
      EXPECT_NEAR(bytes.get<double>() / whole[key][0].get<double>(), 0.5, 0.001) << key;
    }
  }
}

}  // namespace
}  // namespace hone::test
