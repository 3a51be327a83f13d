// From a GGUF file to a folder in Hugging Face layout that trains and loads like the original.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/dtype.h"

namespace hone::formats {

struct GgufImportOptions {
  // "float32", "bfloat16" or "float16". "": the narrowest that holds every value exactly, so
  // float32 for quantised files.
  std::string dtype;
};

// What the caller may want to print or put into a model card.
struct GgufImportResult {
  std::string model_type;                   // "llama"
  std::string architecture;                 // "LlamaForCausalLM"
  std::string name, organization, license;  // general.* of the file, "" if absent
  std::vector<std::string> languages;
  std::string dtype;                      // "float32"
  std::vector<std::string> tensor_types;  // as found: "F32", "Q4_1", "Q8_0"
  uint64_t num_parameters = 0;
};

// Writes config.json, generation_config.json, model.safetensors (or shards), tokenizer.json,
// tokenizer_config.json and chat_template.jinja. Reads the architectures llama (also Mistral),
// qwen2 and qwen3 with a byte-level BPE tokenizer. `output_folder` appears complete or not at all.
// Throws kMissingInput, kBadInput, kCannotCreate when output_folder exists and is not empty,
// kBadRecipe for an unknown dtype option, kIo.
GgufImportResult import_gguf(const std::filesystem::path& gguf_path,
                             const std::filesystem::path& output_folder,
                             const GgufImportOptions& options = {});

}  // namespace hone::formats
