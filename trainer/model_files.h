// The files of a hub folder: weights or adapter, and what is copied beside them from the input.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/tensor_files.h"

namespace hone::trainer {

struct ModelFiles {
  std::vector<TensorFile> weights;  // in the input's names, sharded at 5 GB, or the adapter's
  std::string index_name, index;    // where there are several
};

ModelFiles plan_model_files(const models::Model& model, const std::string& save_dtype);

// What goes beside the weights, by one rank: index, config and tokenizer files, or
// adapter_config.json. Each is written under a temporary name, synced and renamed. Throws kIo,
// kCannotCreate.
void write_side_files(const std::filesystem::path& folder, const ModelFiles& files,
                      const models::Model& model, const std::filesystem::path& model_folder,
                      const std::string& save_dtype);

// Names of trainable parameters that the planned model files hold bit for bit, so that
// nothing more is needed to go on from them: saved in float32, under their own name and shape.
std::set<std::string> exactly_saved(const models::Model& model, const std::string& save_dtype);

}  // namespace hone::trainer
