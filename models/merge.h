// Folds a LoRA adapter into its base model.
#pragma once

#include <filesystem>
#include <string>

namespace hone::models {

// Writes `output_folder` as a whole model in Hugging Face layout: W + scale * B A in float32,
// tensor by tensor, in the base's names and sharding; modules_to_save replace theirs. save_dtype ""
// keeps each tensor's dtype ("float32", "bfloat16", "float16" set one for all). config.json and
// tokenizer files come from the base, tokenizer files of the adapter folder win. An adapter that
// treats embedding and head of a tied model differently unties them. Weights and index are written
// before config.json. Throws kBadInput or kMissingInput before anything is written, kCannotCreate
// when the folder is not empty, kIo.
void merge_adapter(const std::filesystem::path& base_folder,
                   const std::filesystem::path& adapter_folder,
                   const std::filesystem::path& output_folder, const std::string& save_dtype);

}  // namespace hone::models
