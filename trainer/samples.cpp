#include "trainer/samples.h"

#include <algorithm>

#include "trainer/generate.h"

namespace hone::trainer {
namespace {

using core::Json;

// Where a row's prompt ends: at its first trained token. The first token alone is no prompt.
int64_t prompt_length(const data::TokenRow& row) {
  const auto first =
      std::ranges::find_if(row.trained, [](uint8_t trained) { return trained != 0; });
  const int64_t length = first - row.trained.begin();
  return first == row.trained.end() || length < 2 ? 0 : length;
}

std::string row_json(int64_t step, const SamplePrompt& prompt, const std::string& text,
                     size_t num_tokens) {
  Json json{{"step", step}, {"prompt", prompt.text}, {"text", text}, {"num_tokens", num_tokens}};
  if (prompt.reference) json["reference"] = *prompt.reference;
  // A text that was cut off by max_new_tokens may end inside a character.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

SamplePrompt make_sample_prompt(const data::Tokenizer& tokenizer, const std::string& text,
                                const std::string& system_prompt) {
  if (!tokenizer.has_chat_template()) return {text, tokenizer.encode(text, true).ids, {}};
  Json messages = Json::array();
  if (!system_prompt.empty()) messages.push_back({{"role", "system"}, {"content", system_prompt}});
  messages.push_back({{"role", "user"}, {"content", text}});
  // The template writes its own special tokens.
  return {text, tokenizer.encode(tokenizer.render(messages, true).text, false).ids, {}};
}

std::vector<SamplePrompt> sample_prompts_of(const data::TokenCache& rows, int64_t count,
                                            const data::Tokenizer& tokenizer) {
  std::vector<SamplePrompt> prompts;
  for (int64_t i = 0; i < rows.num_rows() && static_cast<int64_t>(prompts.size()) < count; ++i) {
    const data::TokenRow row = rows.row(i);
    const int64_t length = prompt_length(row);
    if (length == 0) continue;
    const auto answer = row.ids.begin() + length;
    const auto end = std::ranges::find(row.trained.begin() + length, row.trained.end(), 0);
    std::vector<int32_t> ids(row.ids.begin(), answer);
    const std::vector<int32_t> reference(answer, answer + (end - row.trained.begin() - length));
    prompts.push_back({tokenizer.decode(ids, true), ids, tokenizer.decode(reference, true)});
  }
  return prompts;
}

std::optional<SampleIds> generate_samples(const models::Model& model, const SampleSet& set,
                                          const std::function<bool()>& should_stop) {
  const GenerateOptions greedy{
      .max_new_tokens = set.max_new_tokens, .greedy = true, .eos_token_ids = set.eos_token_ids};
  SampleIds ids;
  bool stopped = false;
  for (const SamplePrompt& prompt : set.prompts) {
    ids.push_back(generate(model, prompt.ids, greedy, [&](int32_t) {
      stopped = should_stop();
      return !stopped;
    }));
    if (stopped) return std::nullopt;
  }
  return ids;
}

Samples::Samples(const std::filesystem::path& path, const data::Tokenizer& tokenizer,
                 std::vector<SamplePrompt> prompts, const JsonlFile::Keep& keep)
    : tokenizer_(tokenizer),
      prompts_(std::move(prompts)),
      file_(
          path, !keep ? JsonlFile::Keep() : [&](const Json& row) {
            if (!keep(row)) return false;
            last_step_ = row.at("step");
            return true;
          }) {}

bool Samples::has_rows(int64_t step) const { return last_step_ == step; }

void Samples::write(int64_t step, const SampleIds& ids,
                    const std::function<void(const SamplePrompt&, const std::string& text)>& show) {
  std::string rows;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const std::string text = tokenizer_.decode(ids[i], true);
    rows += row_json(step, prompts_[i], text, ids[i].size());
    show(prompts_[i], text);
  }
  file_.append(rows);
  last_step_ = step;
}

void Samples::sync() { file_.sync(); }

}  // namespace hone::trainer
