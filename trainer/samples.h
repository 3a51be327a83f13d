// What the model writes while it is trained: the same prompts again and again, greedily, so that
// texts of different steps can be compared. Nothing here draws from a generator or touches a
// weight: a run with samples trains the same bits as one without.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "models/model.h"
#include "trainer/jsonl_file.h"

namespace hone::trainer {

struct SamplePrompt {
  std::string text;                      // as a reader wants to see it
  std::vector<int32_t> ids;              // as the model gets it
  std::optional<std::string> reference;  // what the data has there
};

// As the user's turn of the tokenizer's chat template, after `system_prompt` if that is not empty;
// text to continue where there is no template.
SamplePrompt make_sample_prompt(const data::Tokenizer& tokenizer, const std::string& text,
                                const std::string& system_prompt);

// The first `count` rows that have tokens before their first trained one: these are the prompt, the
// trained tokens that follow the reference.
std::vector<SamplePrompt> sample_prompts_of(const data::TokenCache& rows, int64_t count,
                                            const data::Tokenizer& tokenizer);

struct SampleSet {
  std::vector<SamplePrompt> prompts;
  int64_t max_new_tokens = 128;
  std::vector<int64_t> eos_token_ids;
};

// The ids that follow each prompt; nullopt when should_stop said so. Collective over the tensor and
// pipeline axes of the model, where should_stop must say the same on all ranks.
using SampleIds = std::vector<std::vector<int32_t>>;
std::optional<SampleIds> generate_samples(const models::Model& model, const SampleSet& set,
                                          const std::function<bool()>& should_stop);

// samples.jsonl: {"step", "prompt", "text", "num_tokens"}, with "reference" where there is one; a
// line for each prompt, in their order, at every step that is sampled.
class Samples {
 public:
  // Without `keep` starts a new file, as JsonlFile does.
  Samples(const std::filesystem::path& path, const data::Tokenizer& tokenizer,
          std::vector<SamplePrompt> prompts, const JsonlFile::Keep& keep);

  bool has_rows(int64_t step) const;  // written or kept
  // Appends what was generated. Calls `show` with each prompt and its text. Throws kIo.
  void write(int64_t step, const SampleIds& ids,
             const std::function<void(const SamplePrompt&, const std::string& text)>& show);
  void sync();

 private:
  const data::Tokenizer& tokenizer_;
  const std::vector<SamplePrompt> prompts_;
  int64_t last_step_ = -1;  // of the last row
  JsonlFile file_;
};

}  // namespace hone::trainer
