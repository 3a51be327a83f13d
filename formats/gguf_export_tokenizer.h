// tokenizer.ggml.* of a GGUF file from the tokenizer files of a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/gguf_writer.h"

namespace hone::formats {

// Adds vocabulary (padded to vocab_size tokens), merges, token types, special ids and chat
// templates. `notes` gets what llama.cpp does otherwise. Throws kBadInput naming the part of
// tokenizer.json that GGUF can't express, kMissingInput without tokenizer.json.
void add_gguf_tokenizer(const std::filesystem::path& folder, int64_t vocab_size, GgufKeys& keys,
                        std::vector<std::string>& notes);

}  // namespace hone::formats
