#include "recipes/cluster_plan.h"

#include <gtest/gtest.h>

#include "recipes/machine.h"
#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

const std::string kConfig =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
"intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
"rms_norm_eps": 1e-05, "rope_theta": 500000.0, "torch_dtype": "bfloat16"})";

class ClusterPlan : public RecipeTest {
 protected:
  ClusterPlan() { test::write_text(folder_ / "model/config.json", kConfig); }

  Recipe recipe(const std::string& lines, int64_t num_ranks) const {
    return read(
        "recipe: sft\nmodel_name_or_path: model\ndatasets: [{path: data/train.jsonl}]\n"
        "output_dir: runs/x\nmax_length: 4096\npacking: true\n" +
            lines,
        {}, num_ranks);
  }
  std::string refusal(const Recipe& recipe, const launch::Cluster& cluster) const {
    try {
      require_memory(recipe, cluster);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.exit_code(), 78);
      return error.what();
    }
    return "";
  }
};

launch::Cluster cluster_of(const std::string& lines) {
  return launch::parse_cluster(lines, "c.yaml");
}

TEST_F(ClusterPlan, GpusAreH100UnlessTheFileSaysOtherwise) {
  const auto gpus = cluster_of("launcher: slurm\nranks_per_node: 4\ngpus_per_node: 4\n");
  EXPECT_EQ(hardware_of(gpus).name, "h100");
  EXPECT_EQ(hardware_of(gpus).ranks_per_node, 4);
  const auto named = cluster_of("launcher: slurm\ngpus_per_node: 1\nhardware: l40s\n");
  EXPECT_EQ(hardware_of(named).name, "l40s");
  const auto unknown = cluster_of("launcher: slurm\nhardware: h999\n");
  try {
    hardware_of(unknown);
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("c.yaml:2"), std::string::npos) << error.what();
  }
}

TEST_F(ClusterPlan, RanksWithoutGpusShareTheMemoryOfTheirNode) {
  const auto here = cluster_of("launcher: mpirun\nranks_per_node: 2\n");
  EXPECT_DOUBLE_EQ(hardware_of(here).memory_bytes, static_cast<double>(memory_bytes()) / 2);
  const auto slurm = cluster_of("launcher: slurm\nranks_per_node: 4\nmemory: 64G\n");
  EXPECT_DOUBLE_EQ(hardware_of(slurm).memory_bytes, 16.0 * (1 << 30));
}

TEST_F(ClusterPlan, WhatDoesNotFitIsRefusedWithWhatWouldHelp) {
  const auto cluster = cluster_of("launcher: slurm\nranks_per_node: 8\ngpus_per_node: 8\n");
  const std::string message = refusal(recipe("", 8), cluster);
  for (const char* part :
       {"does not fit the memory", "at most 85.5 GB", "dp_shard_size: 8 saves", "--ignore-plan"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  EXPECT_EQ(refusal(recipe("dp_shard_size: 8\n", 8), cluster), "");
}

TEST_F(ClusterPlan, WhatCanNotBeKnownHereIsLeftToTheRanks) {
  // Nodes on CPUs whose memory the file does not give.
  EXPECT_EQ(refusal(recipe("", 2), cluster_of("launcher: slurm\nnodes: 2\n")), "");
  // Rows that may be short.
  Recipe rows = recipe("", 8);
  rows.loader.packing = false;
  EXPECT_EQ(refusal(rows, cluster_of("launcher: slurm\nranks_per_node: 8\ngpus_per_node: 8\n")),
            "");
  // A model that is nowhere near.
  Recipe elsewhere = recipe("", 1);
  elsewhere.model_name_or_path = "owner/not-here";
  EXPECT_EQ(refusal(elsewhere, cluster_of("launcher: slurm\ngpus_per_node: 1\n")), "");
}

}  // namespace
}  // namespace hone::recipes
