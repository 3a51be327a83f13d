// From a folder in Hugging Face layout to a Model and back.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"

namespace hone::models {

struct LoadOptions {
  at::ScalarType compute_dtype = at::kFloat;
  at::Device device = at::kCPU;
  bool train_base = false;             // full fine-tuning: every tensor is trainable
  AdapterOptions adapter;              // r > 0: LoRA on top of a frozen base
  std::filesystem::path adapter_path;  // continue this PEFT adapter instead of a fresh one
  uint64_t seed = 42;  // of fresh LoRA A matrices (kaiming uniform with a = sqrt(5); B is zero)
  Sharding sharding;
  ComputeGroups groups = {};  // of the axes that `sharding` cuts layers and tokens over
};

// Checks every file and shape first (all problems in one message), then reads tensors straight into
// the stage buffers, of a sharded model what this rank keeps and no other byte; frozen ones that
// the files hold in the compute dtype stay in the files' memory map (CPU), where the ranks of a
// machine share them. Throws kBadInput, kMissingInput.
Model load_model(const std::filesystem::path& folder, const LoadOptions& options);

// A tensor of the model as it goes into a file.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;  // safetensors name: "F32", "BF16", "F16"
  // What this rank writes: runs of what `get` returns (slice_begin) and of the tensor in the file
  // (whole_begin). All of it on one rank.
  std::vector<parallel::SliceRun> runs;
  std::function<at::Tensor()> get;  // a flat contiguous CPU tensor of that dtype
};

// What the final folder holds: every base tensor in its input's names (full), or the PEFT tensors
// (adapter). save_dtype "" keeps each tensor's dtype of the input file (adapters: float32).
std::vector<NamedTensor> tensors_to_save(const Model& model, const std::string& save_dtype);

// A tensor that is kept as it is, as a float32 one of the file: `kept` is laid out as
// Stage::kept.trainable.
NamedTensor named_state(const Stage& stage, const Parameter& parameter, const at::Tensor& kept);

// The first element of a parameter in the flat buffer of its stage that it is a view of.
int64_t offset_in_stage(const Stage& stage, const Parameter& parameter);

}  // namespace hone::models
