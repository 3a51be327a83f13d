// Tiny models, data and folders for the trainer's tests.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "data/loader.h"
#include "formats/safetensors.h"
#include "models/load.h"
#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"
#include "tests/support/paths.h"

namespace hone::trainer {

namespace fs = std::filesystem;

inline fs::path golden(const std::string& name) {
  return fs::path(test::kSourceDir) / "tests" / "golden" / name;
}

using core::TempFolder;

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

using models::expect_failure;

// tests/golden/tiny-chat: two-layer Llama.
inline models::Model tiny_model(bool lora, double lora_dropout = 0.0,
                                at::ScalarType dtype = at::kFloat) {
  at::set_num_threads(1);  // threads of a model this small only wait for each other
  models::LoadOptions options{.compute_dtype = dtype, .train_base = !lora};
  if (lora) {
    options.adapter.r = 4;
    options.adapter.lora_alpha = 8;
    options.adapter.lora_dropout = lora_dropout;
  }
  return models::load_model(golden("tiny-chat"), options);
}

inline data::TokenCache tiny_data(const fs::path& cache_root,
                                  const std::string& file = "train.jsonl") {
  const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
  data::DatasetSource source;
  source.path = golden("tiny-chat") / file;
  source.where = file;
  return data::prepare_dataset({source}, {.max_length = 64}, tokenizer, cache_root);
}

inline std::vector<data::MicroBatch> micro_batches_of(const data::Loader& loader, int64_t step) {
  std::vector<data::MicroBatch> micro_batches;
  for (int64_t i = 0; i < loader.num_micro_batches(step); ++i)
    micro_batches.push_back(loader.micro_batch(step, i));
  return micro_batches;
}

// Every trainable weight (or gradient) of a model, one after the other.
inline std::vector<float> all_values(const models::Model& model, at::Tensor models::Stage::*flat) {
  std::vector<float> values;
  for (const models::Stage& stage : model.stages) {
    if (!(stage.*flat).defined() || (stage.*flat).numel() == 0) continue;
    const at::Tensor tensor = (stage.*flat).contiguous();
    const float* data = tensor.const_data_ptr<float>();
    values.insert(values.end(), data, data + tensor.numel());
  }
  return values;
}

}  // namespace hone::trainer
