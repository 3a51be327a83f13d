#include "recipes/cross_checks.h"

#include <algorithm>
#include <filesystem>

#include "core/text.h"
#include "data/file_type.h"
#include "data/glob.h"
#include "hub/push_http.h"
#include "hub/repo_id.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;

// Ids never start like this; a mistyped path gets a better message than "unknown id".
bool looks_like_path(const std::string& text) {
  return text.starts_with('/') || text.starts_with("./") || text.starts_with("../") ||
         text.starts_with('~') || std::count(text.begin(), text.end(), '/') > 1;
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// A folder that exists, or a name that could be an id.
void check_folder_or_id(const CheckContext& context, const std::string& path, const Json& value) {
  if (!value.is_string()) return;
  const std::string text = value.get<std::string>();
  if (is_folder(text)) return;
  if (looks_like_path(text)) {
    context.report(path, "got '" + text + "', expected a folder or an id: no such folder");
  } else if (const std::string problem = hub::repo_id_problem(text, false); !problem.empty()) {
    context.report(path, "got '" + text + "', expected a folder or an id: " + problem);
  }
}

// "" if the path may be a dataset: something that is here, a pattern that matches, or what may be
// the id of a hub's dataset. A name with a data file's extension is none.
std::string source_problem(const std::string& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return "";
  const std::string start = " (relative paths start at " + fs::current_path(ignored).string() + ")";
  if (data::is_glob(path)) return data::expand_glob(path).empty() ? "no file matches" + start : "";
  const bool may_be_id = !looks_like_path(path) && !data::file_type_of(path) &&
                         hub::repo_id_problem(path, true).empty();
  return may_be_id ? "" : "no such file or folder" + start;
}

void check_sources(const CheckContext& context, const std::string& list) {
  if (!context.at(list).is_array()) return;
  for (size_t i = 0; i < context.at(list).size(); ++i) {
    if (!context.at(list)[i].is_object()) continue;
    const Json& path = context.at(list)[i].at("path");
    if (!path.is_string()) continue;
    const std::string problem = source_problem(path.get<std::string>());
    if (problem.empty()) continue;
    context.report(list + "[" + std::to_string(i) + "].path",
                   "got '" + path.get<std::string>() + "': " + problem);
  }
}

void check_weights(const CheckContext& context) {
  const Json& list = context.at("datasets");
  if (!list.is_array()) return;
  size_t num_given = 0, missing = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const bool given = list[i].is_object() && list[i].at("weight").is_number();
    num_given += given;
    if (!given) missing = i;
  }
  if (num_given == 0 || num_given == list.size()) return;
  context.report("datasets[" + std::to_string(missing) + "]",
                 "has no weight, and other datasets have one: give it to all or to none");
}

void check_adapter(const CheckContext& context) {
  if (!context.given("adapter.path")) return;
  for (const char* key :
       {"r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "use_rslora"}) {
    const std::string path = std::string("adapter.") + key;
    if (context.given(path))
      context.report(path, "is read from the adapter in adapter.path: leave it out");
  }
}

void check_hub(const CheckContext& context) {
  const Json& id = context.at("hub_model_id");
  const Json& given = context.at("hub_endpoint");
  const std::string endpoint =
      hub::push_endpoint(given.is_string() ? given.get<std::string>() : std::string());
  const bool is_http = hub::is_http_endpoint(endpoint);
  if (context.at("push_to_hub") == true && is_http) {
    const std::string problem = hub::push_problem(endpoint);
    if (!problem.empty()) context.report("push_to_hub", problem);
  }
  if (context.at("hub_create_pr") == true && !is_http)
    context.report("hub_create_pr", "needs a hub over HTTP: the local store has no pull requests");
  if (context.at("push_to_hub") == true && id.is_null()) {
    context.report("push_to_hub", "needs hub_model_id: owner/name");
  }
  if (context.at("hub_strategy") == "every_save" && context.at("hub_create_pr") == true)
    context.report("hub_strategy",
                   "every_save can't go with hub_create_pr: each save would open one");
  if (context.given("hub_strategy") && context.at("push_to_hub") == false)
    context.notes.push_back("hub_strategy does nothing without push_to_hub: true");
  if (!id.is_string()) return;
  const std::string problem = hub::repo_id_problem(id.get<std::string>(), !is_http);
  if (!problem.empty())
    context.report("hub_model_id",
                   "got '" + id.get<std::string>() + "', expected owner/name: " + problem);
  if (context.at("push_to_hub") == false) {
    context.notes.push_back(
        "hub_model_id is given, but nothing is pushed without push_to_hub: true");
  }
}

void check_evaluation(const CheckContext& context) {
  if (context.given("eval_split") && context.given("eval_datasets")) {
    context.report("eval_split", "can't be given beside eval_datasets");
  }
  const Json& split = context.at("eval_split");
  if (split.is_number() && split.get<double>() >= 1 &&
      split.get<double>() != static_cast<double>(static_cast<int64_t>(split.get<double>()))) {
    context.report("eval_split", "got " + split.dump() +
                                     ", expected a fraction below 1 or a whole number of rows");
  }
  if (context.given("eval_steps") && context.at("eval_steps") != 0 && split.is_null() &&
      context.at("eval_datasets").is_null()) {
    context.notes.push_back(
        "eval_steps is given, but there is no eval_datasets or eval_split: nothing is evaluated");
  }
}

void check_reports(const CheckContext& context) {
  const std::vector<std::string> known = {"tensorboard", "html", "all", "none"};
  const Json& given = context.at("report_to");
  const Json list = given.is_array() ? given : Json::array({given});
  for (const Json& item : list) {
    const std::string name = item.get<std::string>();
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      if (list.size() > 1 && (name == "none" || name == "all"))
        context.report("report_to", "got " + name + " in a list, expected it alone");
      continue;
    }
    const std::string suggestion = core::did_you_mean(name, known);
    context.report("report_to",
                   "got '" + name + "', expected one of " + core::join(known, ", ") +
                       (suggestion.empty() ? "" : ", did you mean '" + suggestion + "'?"));
  }
}

bool has_evaluation_data(const CheckContext& context) {
  return !context.at("eval_split").is_null() || !context.at("eval_datasets").is_null();
}

void check_samples(const CheckContext& context) {
  const bool from_rows = context.at("sample_eval_rows") != 0;
  if (from_rows && !has_evaluation_data(context))
    context.report("sample_eval_rows", "needs eval_datasets or eval_split");
  if (from_rows || !context.at("sample_prompts").is_null()) return;
  for (const char* key : {"sample_steps", "sample_max_new_tokens"}) {
    if (context.given(key)) {
      context.notes.push_back(std::string(key) +
                              " is given, but there is no sample_prompts or sample_eval_rows");
    }
  }
}

// What chooses among evaluations needs some beside the first and the last.
void check_selection(const CheckContext& context) {
  for (const char* key :
       {"metric_for_best_model", "load_best_model_at_end", "early_stopping_patience"}) {
    if (!context.given(key) || context.at(key) == false || context.at(key).is_null()) continue;
    if (!has_evaluation_data(context))
      context.report(key, "needs eval_datasets or eval_split: nothing is evaluated");
    if (context.at("eval_steps") == 0)
      context.report(key, "needs eval_steps above 0: only the last model would be compared");
  }
  if (context.given("early_stopping_threshold") && context.at("early_stopping_patience").is_null())
    context.notes.push_back(
        "early_stopping_threshold does nothing without early_stopping_patience");
  if (context.at("greater_is_better") == true)
    context.notes.push_back("greater_is_better: true takes the largest loss for the best");
}

void check_schedule(const CheckContext& context) {
  if (context.given("warmup_ratio") && context.given("warmup_steps") &&
      context.at("warmup_steps") != 0 && context.at("warmup_ratio") != 0.0) {
    context.report("warmup_steps", "can't be given beside warmup_ratio");
  }
  if (context.given("max_steps") && context.given("num_train_epochs")) {
    context.notes.push_back("max_steps wins over num_train_epochs");
  }
}

}  // namespace

void CheckContext::report(const std::string& path, const std::string& message) const {
  problems.push_back(problem_at(checked.places, path, message));
}

void check_files(const CheckContext& context) {
  check_folder_or_id(context, "model_name_or_path", context.at("model_name_or_path"));
  check_folder_or_id(context, "tokenizer", context.at("tokenizer"));
  check_sources(context, "datasets");
  check_sources(context, "eval_datasets");
}

void check_combinations(const CheckContext& context) {
  if (context.at("adapter").is_object()) {
    check_folder_or_id(context, "adapter.path", context.at("adapter").at("path"));
    check_adapter(context);
  }
  check_weights(context);
  check_evaluation(context);
  check_samples(context);
  check_selection(context);
  check_schedule(context);
  check_reports(context);
  check_hub(context);
}

LocalModel read_local_model(const CheckContext& context) {
  const Json& model = context.at("model_name_or_path");
  if (!model.is_string() || !is_folder(model.get<std::string>())) return {};
  try {
    return {.spec = models::read_model_spec(model.get<std::string>())};
  } catch (const core::Error& e) {
    return {.error = e};
  }
}

}  // namespace hone::recipes
