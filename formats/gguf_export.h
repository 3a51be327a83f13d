// From a folder in Hugging Face layout to a GGUF file that llama.cpp runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "formats/gguf_config.h"
#include "formats/gguf_names.h"

namespace hone::formats {

// What a file is called by the type most of its matrices have.
struct GgufFileType {
  const char* name;  // "Q4_K_M", as llama.cpp's quantize has it
  uint32_t number;   // general.file_type
  GgmlType type;     // of matrices, but for those that gguf_tensor_type names
};

// F32, F16, BF16, Q8_0, Q4_0, Q4_K_M (also called Q4_K); in any case. nullptr for another.
const GgufFileType* find_gguf_file_type(const std::string& name);
std::string known_gguf_file_types();

// What llama.cpp's quantize gives a tensor: vectors stay F32; in quantised files the head (a tied
// embedding too) is Q6_K, and in Q4_K_M so are attn_v and ffn_down of about half the blocks; rows
// that do not hold whole blocks go to a type with smaller ones (Q4_K to Q5_0, Q6_K to Q8_0), at
// last to F16.
GgmlType gguf_tensor_type(const GgufFileType& file_type, const GgufName& name,
                          const GgufModel& model);

// The numbers of a model that its folder's config.json says (models/spec reads them).
struct GgufHyperparameters {
  GgufModel model;
  int64_t context_length = 0;
  int64_t sliding_window = 0;  // 0: none
  double rms_norm_eps = 0, rope_theta = 10000.0;
  double rope_linear_factor = 1.0;
  std::optional<GgufRope> rope_llama3;
};

struct GgufExportOptions {
  std::string type = "F16";
  std::string name;     // general.name
  std::string license;  // general.license; "": left out
};

struct GgufExportResult {
  uint64_t file_bytes = 0, num_parameters = 0;
  std::map<std::string, int64_t> tensors_by_type;  // "Q4_K": 120
  std::vector<std::string> notes;                  // what the file can't say; for the user
};

// Weights, tokenizer, chat templates and end tokens of `folder` as one file; memory is that of one
// piece of a tensor. The same folder and options give the same bytes. The file appears whole or
// not at all. Throws kBadInput naming the file and the part of it that GGUF can't express (a
// tokenizer that is not byte-level BPE with a split llama.cpp knows, a value that is not finite or
// too large for the type), kMissingInput, kUsage for an unknown type, kIo, kCannotCreate.
GgufExportResult export_gguf(const std::filesystem::path& folder, const GgufHyperparameters& model,
                             const std::filesystem::path& gguf_path,
                             const GgufExportOptions& options = {});

}  // namespace hone::formats
