// Which tensors a loaded model holds, which of them train, and where each comes from: decided
// before any byte is read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/spec/adapter.h"
#include "models/spec/model_spec.h"
#include "models/spec/sharding.h"

namespace hone::models {

enum class ParameterSource {
  kBaseFile,     // the model folder
  kAdapterFile,  // the adapter folder
  kLoraA,        // fresh: kaiming uniform with a = sqrt(5), as torch.nn.Linear
  kZero,         // fresh
  kNormal,       // fresh: standard normal (PEFT's B of an adapted embedding)
};

struct PlannedParameter {
  std::string key;  // what the stages look it up by: HF name, or "<module path>.lora_A" / ".lora_B"
  std::string name;            // as it is saved
  std::vector<int64_t> shape;  // of the whole tensor
  int64_t stage = 0;
  bool trainable = false;
  ParameterSource source = ParameterSource::kBaseFile;
  std::string source_name;           // in the file
  uint32_t init_stream = 0;          // of the random draws of fresh tensors
  parallel::TensorSlice slice = {};  // that this rank has; of a stage that it holds
  bool is_held = true;
  std::vector<int64_t> held_shape() const;  // of the slice; {0} where the stage is not held
  int64_t num_held() const;                 // its elements
};

// In stage order and, in a stage, in flat-buffer order. `train_base` is ignored with an adapter;
// `continued` says that adapter tensors come from a file.
std::vector<PlannedParameter> plan_parameters(const ModelSpec& spec, const AdapterOptions& adapter,
                                              bool train_base, bool continued);

// Whether the head computes with the embedding's weights.
bool has_tied_head(std::span<const PlannedParameter> plan);

// Says of every parameter what a rank has of it. Throws kBadRecipe as slice_of.
void slice_plan(std::vector<PlannedParameter>& plan, const ModelSpec& spec,
                const Sharding& sharding);

// lora_alpha / r, or lora_alpha / sqrt(r) for rsLoRA (arXiv:2312.03732).
double lora_scale(const AdapterOptions& adapter);

}  // namespace hone::models
