#include "recipes/train/watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "trainer/process_stats.h"

namespace hone::recipes {

std::vector<trainer::SamplePrompt> sample_prompts(const Recipe& recipe, const PreparedData& data,
                                                  const data::Tokenizer& tokenizer) {
  std::vector<trainer::SamplePrompt> prompts;
  for (const std::string& text : recipe.sample_prompts) {
    prompts.push_back(
        trainer::make_sample_prompt(tokenizer, text, recipe.dataset_options.system_prompt));
  }
  if (!data.eval || recipe.sample_eval_rows == 0) return prompts;
  auto of_rows = trainer::sample_prompts_of(*data.eval, recipe.sample_eval_rows, tokenizer);
  if (static_cast<int64_t>(of_rows.size()) < recipe.sample_eval_rows) {
    spdlog::warn("sample_eval_rows: only {} evaluation rows have a prompt before what is trained",
                 of_rows.size());
  }
  std::ranges::move(of_rows, std::back_inserter(prompts));
  return prompts;
}

Profile::Profile(bool on) {
  if (!on) return;
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> age(trainer::seconds_since_process_start());
  trace_.emplace(now - std::chrono::duration_cast<std::chrono::steady_clock::duration>(age));
  trace_->name_thread("training");
  trace_->slice("start of the process", "run", trace_->origin(), now);
}

void Profile::write(const std::filesystem::path& path) const {
  if (!trace_ || !has_run_) return;
  trace_->write(path);
  spdlog::info("wrote {}: open it at https://ui.perfetto.dev", path.string());
}

}  // namespace hone::recipes
