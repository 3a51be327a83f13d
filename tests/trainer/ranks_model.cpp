#include "tests/trainer/ranks_model.h"

#include <numeric>

#include "core/rng.h"
#include "models/spec/shard_plan.h"
#include "tests/support/model_run.h"
#include "tests/trainer/made_model.h"

namespace hone::trainer {

data::MicroBatch one_document(int64_t num_tokens, int64_t vocab_size) {
  data::MicroBatch batch;
  for (int64_t i = 0; i < num_tokens; ++i) {
    batch.input_ids.push_back(static_cast<int32_t>((7 * i + 3) % vocab_size));
    batch.labels.push_back(static_cast<int32_t>((7 * i + 10) % vocab_size));
  }
  batch.position_ids.resize(static_cast<size_t>(num_tokens));
  std::iota(batch.position_ids.begin(), batch.position_ids.end(), 0);
  batch.labels.front() = -100;
  batch.cu_doc_lens = {0, static_cast<int32_t>(num_tokens)};
  batch.sample_ids = {0};
  batch.source_ids = {0};
  batch.num_trained_tokens = num_tokens - 1;
  return batch;
}

ModelFolder::ModelFolder(const std::string& name) : base_(golden(name)) {
  if (name.starts_with("made/")) {
    base_ = made_.path();
    make_model(name.substr(5), base_);
  }
  make_adapter();
}

void ModelFolder::make_adapter() const {
  models::AdapterOptions options{.r = 3, .lora_alpha = 6};
  options.target_modules = {"q_proj",  "k_proj",    "v_proj",       "o_proj", "gate_proj",
                            "up_proj", "down_proj", "embed_tokens", "lm_head"};
  const models::Model model = models::load_model(base_, {.adapter = options});
  for (size_t s = 0; s < model.stages.size(); ++s) {
    const at::Tensor& flat = model.stages[s].trainable;
    for (int64_t i = 0; i < flat.numel(); ++i) {
      const auto stream = static_cast<uint32_t>(s);
      const double draw = core::random_uniform(3, core::RngSite::kLoraInit, stream, 0, i);
      flat.mutable_data_ptr<float>()[i] = static_cast<float>(0.4 * draw - 0.2);
    }
  }
  fs::create_directories(adapter());
  models::write_tensors(adapter() / "adapter_model.safetensors", models::saved_tensors(model));
  write_text(adapter() / "adapter_config.json",
             core::dump_json(models::adapter_config_json(options, model.spec)));
}

models::Model ModelFolder::load(const parallel::Mesh& mesh, bool lora, bool train_base,
                                int64_t level, at::ScalarType dtype) const {
  at::set_num_threads(1);
  const auto costs = models::stage_costs(models::read_model_spec(base_), 64);
  parallel::Pipeline pipeline;
  if (mesh.layout.pp > 1) pipeline = parallel::make_pipeline(costs, mesh.layout.pp, 1);
  models::LoadOptions options{
      .compute_dtype = dtype,
      .train_base = train_base,
      .sharding = sharding_of(mesh, level, pipeline),
      .groups = compute_groups(mesh),
  };
  if (lora) options.adapter_path = adapter();
  return models::load_model(base_, options);
}

}  // namespace hone::trainer
