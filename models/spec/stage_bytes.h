// Bytes of a micro-batch's activations in every stage, counted from what the kernels and their
// backwards keep and make: what a step needs beside weights, gradients and optimizer state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/schedule.h"
#include "parallel/tensor_slice.h"

namespace hone::models {

// What trains. A linear layer keeps its input only for a gradient of its weight or of its adapter.
struct TrainedModules {
  bool everything = true;            // full fine-tuning
  std::vector<std::string> saved;    // else: paths of modules that train whole
  std::vector<std::string> adapted;  // and of those with an adapter of rank `lora_rank`
  int64_t lora_rank = 0;
  bool has_dropout = false;
};

// A micro-batch on a rank.
struct MicroBatchShape {
  int64_t tokens = 0;         // of the micro-batch, over all ranks of the context axis
  int64_t element_bytes = 4;  // of the compute dtype
  parallel::Slicer slicer = {};
  int64_t cp = 1;
};

// Of one stage, as parallel::StageDescriptor has them.
struct StageBytes {
  int64_t output = 0, graph = 0;
  int64_t forward_work = 0, graph_work = 0, backward_work = 0;
};

// Of the embedding, every block and the head, on the rank of the axes with the most tokens. One
// document fills the micro-batch and nearly all tokens are trained. Not counted is what does not
// grow with tokens (kernels' scratch), and with several threads the copies of key and value
// gradients that short rows are cut into. Throws kInternal where the heads do not divide.
std::vector<StageBytes> stage_bytes(const ModelSpec& spec, const TrainedModules& trained,
                                    const MicroBatchShape& shape);

// Of a micro-batch's own tensors: ids, labels and rotary tables.
int64_t batch_bytes(const ModelSpec& spec, const MicroBatchShape& shape);

// Puts them into the descriptors of the model's stages, as many as it has.
void fill_bytes(std::vector<parallel::StageDescriptor>& stages,
                const std::vector<StageBytes>& bytes);

}  // namespace hone::models
