// Compares what a model needs with what its files hold, before a byte is read.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/file_tensors.h"

namespace hone::models {

struct WantedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// Throws kBadInput naming missing and unexpected tensors, wrong shapes and dtypes that aren't F32,
// F16 or BF16: up to ten of each with their counts, all in one message. `is_ignored` names the
// extra tensors that are no problem.
void check_weights(const FileTensors& files, std::span<const WantedTensor> wanted,
                   bool (*is_ignored)(const std::string& name), const std::string& where);

// Extra tensors of a base model's file: buffers older versions saved, a tied head, quantisation
// leftovers are not.
bool is_ignored_base_tensor(const std::string& name);
// Extra tensors of an adapter's file: copies of frozen base weights PEFT keeps of adapted
// embeddings.
bool is_ignored_adapter_tensor(const std::string& name);

}  // namespace hone::models
