// A whole run of the trainer on the tiny model, in a folder of its own.
#pragma once

#include <map>
#include <sstream>

#include "tests/trainer/support.h"
#include "trainer/checkpoint.h"
#include "trainer/generate.h"
#include "trainer/train.h"

namespace hone::trainer {

using core::Json;

// A small run in a folder of its own; `resume` goes on from the newest checkpoint there.
class SmallRun {
 public:
  explicit SmallRun(bool lora, double lora_dropout = 0.0)
      : lora_(lora), lora_dropout_(lora_dropout) {
    options.max_steps = 6;
    options.logging_steps = 1;
    options.output_dir = out.path();
    options.schedule = {.type = ScheduleType::kCosine,
                        .learning_rate = 1e-2,
                        .warmup_steps = 2,
                        .scheduler_steps = 6};
    options.identity = {{"model", "tiny-chat"}, {"seed", 42}};
    options.run_info = {{"recipe", "sft"}};
  }

  TrainResult train(bool resume = false) {
    models::Model model = tiny_model(lora_, lora_dropout_);
    return train(model, resume);
  }

  TrainResult train(models::Model& model, bool resume = false) {
    const data::Loader train_data(tiny_data(cache.path()), {.packing = true,
                                                            .max_length = 64,
                                                            .micro_batch_size = 2,
                                                            .gradient_accumulation_steps = 2,
                                                            .seed = 42});
    const data::Loader eval_data(tiny_data(cache.path(), "test.jsonl"),
                                 {.max_length = 64, .shuffle = false});
    const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
    TrainInputs inputs{.model = model,
                       .train_data = train_data,
                       .eval_data = with_eval ? &eval_data : nullptr,
                       .model_folder = golden("tiny-chat"),
                       .tokenizer = &tokenizer,
                       .eos_token_ids = end_token_ids(model, golden("tiny-chat"), tokenizer),
                       .publish = publish,
                       .trace = trace};
    for (const std::string& text : sample_prompts)
      inputs.sample_prompts.push_back(make_sample_prompt(tokenizer, text, ""));
    if (resume) inputs.resume_from = find_resumable(out.path());
    return trainer::train(inputs, options);
  }

  std::vector<Json> metrics() const { return rows_of("metrics.jsonl"); }

  std::vector<Json> rows_of(const std::string& file) const {
    std::vector<Json> rows;
    std::istringstream lines(slurp(out / file));
    for (std::string line; std::getline(lines, line);) rows.push_back(Json::parse(line));
    return rows;
  }

  // metrics.jsonl without what depends on the clock, as text: equal text is equal bits.
  std::string timeless_metrics() const {
    std::string text;
    for (Json row : metrics()) {
      row.erase("tokens_per_second");
      row.erase("flops_share");
      text += row.dump() + "\n";
    }
    return text;
  }

  Json run_json() const { return core::read_json_file(out / "run.json"); }

  TempFolder out, cache;
  TrainOptions options;
  bool with_eval = true;
  std::vector<std::string> sample_prompts;
  Publish publish;
  Trace* trace = nullptr;

 private:
  bool lora_;
  double lora_dropout_;
};

inline void expect_same_files(const fs::path& a, const fs::path& b,
                              const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    ASSERT_TRUE(fs::exists(a / name)) << a / name;
    EXPECT_EQ(slurp(a / name), slurp(b / name)) << name;
  }
}

inline const std::vector<std::string> kStateFiles{
    "state/exp_avg.safetensors", "state/exp_avg_sq.safetensors", "state/trainer_state.json"};

}  // namespace hone::trainer
