// The files of a hub folder: weights or adapter, and what is copied beside them from the input.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "models/load.h"
#include "models/model.h"

namespace hone::trainer {

// Writes the model into an existing folder, in final format: weights in the input's names (sharded
// at 5 GB) with config and tokenizer files, or adapter_config.json and adapter_model.safetensors
// with the tokenizer files. Every file is written under a temporary name, synced and renamed.
// Throws kIo, kCannotCreate.
void write_model_files(const std::filesystem::path& folder, const models::Model& model,
                       const std::filesystem::path& model_folder, const std::string& save_dtype);

// Names of trainable parameters that the files of write_model_files hold bit for bit, so that
// nothing more is needed to go on from them: saved in float32, under their own name and shape.
std::set<std::string> exactly_saved(const models::Model& model, const std::string& save_dtype);

}  // namespace hone::trainer
