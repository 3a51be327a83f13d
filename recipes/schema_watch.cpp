// Keys of looking at a run while it goes on, and of choosing among its checkpoints.
#include "recipes/schema_keys.h"

namespace hone::recipes {
namespace {

using enum ValueType;

void add_sample_keys(std::vector<KeySpec>& t) {
  const std::string section = "Samples while training";
  t.push_back({.name = "sample_prompts",
               .type = kTextList,
               .doc =
                   "Prompts the model answers greedily before the first step, every sample_steps "
                   "and after the last; printed and written to samples.jsonl. Each is the "
                   "user's turn of the chat template where there is one.",
               .aliases = {"eval_prompts"},
               .section = section});
  t.push_back({.name = "sample_eval_rows",
               .type = kInteger,
               .default_value = "0",
               .doc = "The same for the first rows of the evaluation data: each up to its first "
                      "trained token, with what follows there as reference.",
               .minimum = 0,
               .maximum = 1000,
               .section = section});
  t.push_back(
      {.name = "sample_steps",
       .type = kInteger,
       .doc = "Sample every so many steps; 0: only before and after. Not given: eval_steps.",
       .minimum = 0,
       .section = section});
  t.push_back({.name = "sample_max_new_tokens",
               .type = kInteger,
               .default_value = "128",
               .doc = "A sample ends after so many tokens, or where the model ends it.",
               .minimum = 1,
               .section = section});
}

void add_selection_keys(std::vector<KeySpec>& t) {
  const std::string section = "Best checkpoint and early stopping";
  t.push_back({.name = "metric_for_best_model",
               .type = kChoice,
               .doc = "What is compared between evaluations at eval_steps; eval_loss is all there "
                      "is. Giving it, or one of the next two, keeps the best checkpoint whatever "
                      "save_total_limit says.",
               .choices = {"eval_loss", "loss"},
               .section = section});
  t.push_back({.name = "load_best_model_at_end",
               .type = kBool,
               .default_value = "false",
               .doc = "output_dir, card and push get the best model instead of the last. An "
                      "evaluation that is the best so far saves a checkpoint at once.",
               .section = section});
  t.push_back({.name = "early_stopping_patience",
               .type = kInteger,
               .doc = "Stop after so many evaluations in a row without an improvement; not given: "
                      "never.",
               .minimum = 1,
               .section = section});
  t.push_back({.name = "early_stopping_threshold",
               .type = kNumber,
               .default_value = "0.0",
               .doc = "An improvement counts for early_stopping_patience when it is larger.",
               .minimum = 0,
               .section = section});
  t.push_back({.name = "greater_is_better",
               .type = kBool,
               .default_value = "false",
               .doc = "Whether a larger value of the metric is a better one.",
               .section = section});
}

}  // namespace

void add_watch_keys(std::vector<KeySpec>& t) {
  add_sample_keys(t);
  add_selection_keys(t);
}

}  // namespace hone::recipes
