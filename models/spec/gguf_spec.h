// A ModelSpec as the numbers of a GGUF file.
#pragma once

#include <string>

#include "formats/gguf_export.h"
#include "models/spec/model_spec.h"

namespace hone::models {

// Throws kBadInput naming `where` for what llama.cpp's architectures can't express: windows of
// only some layers, or of a Qwen model.
formats::GgufHyperparameters gguf_hyperparameters(const ModelSpec& spec, const std::string& where);

}  // namespace hone::models
