// A GGUF file's byte-level or SentencePiece BPE vocabulary as the tokenizer files of a Hugging Face
// folder.
#pragma once

#include <map>
#include <string>

#include "formats/gguf.h"

namespace hone::formats {

// File name to text: tokenizer.json, tokenizer_config.json, and the chat templates where the file
// has some. The result encodes text as llama.cpp does with this file (its pre-tokenizer, no
// normalisation, special tokens parsed). Throws kBadInput for another kind of tokenizer or
// pre-tokenizer, and for a vocabulary that contradicts itself.
std::map<std::string, std::string> gguf_tokenizer_files(const GgufFile& file, int64_t vocab_size);

}  // namespace hone::formats
