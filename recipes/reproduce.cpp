#include "recipes/reproduce.h"

#include "core/error.h"
#include "core/text.h"
#include "data/data_files.h"
#include "recipes/inputs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;

std::string run_json_of(const RecordedRun& run) { return (run.folder / "run.json").string(); }

[[noreturn]] void bad_run(const RecordedRun& run, const std::string& what,
                          const std::string& hint = "") {
  core::fail(ErrorKind::kBadInput, {.what = what, .where = run_json_of(run), .hint = hint});
}

const Json& member(const Json& object, const std::string& path) {
  static const Json kNull;
  const Json* value = &object;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    if (!value->is_object() || !value->contains(key)) return kNull;
    value = &value->at(key);
    begin = end + 1;
  }
  return *value;
}

std::string text_of(const Json& value) {
  if (value.is_null()) return "(absent)";
  return core::excerpt(value.is_string() ? value.get<std::string>() : value.dump(), 100);
}

void compare(const std::string& name, const Json& then, const Json& now,
             std::vector<std::string>& changed) {
  if (then != now) changed.push_back(name + ": then " + text_of(then) + ", now " + text_of(now));
}

Json files_of(const std::vector<data::DatasetSource>& sources) {
  Json files = Json::array();
  for (const data::DatasetSource& source : sources) {
    try {
      for (const fs::path& path : data::resolve_files(source))
        files.push_back({{"path", path.string()}, {"sha256", file_hash(path)}});
    } catch (const core::Error&) {
      // Not files of this machine: the key of the tokens still tells a change, if not where.
      files.push_back({{"path", source.path.string()}, {"sha256", ""}});
    }
  }
  return files;
}

void compare_files(const Json& then, const Json& now, std::vector<std::string>& changed) {
  if (!then.is_array()) return;
  std::map<std::string, std::string> hashes;
  for (const Json& file : now) hashes[file.at("path")] = file.at("sha256");
  for (const Json& file : then) {
    const std::string path = file.value("path", ""), hash = file.value("sha256", "");
    const auto found = hashes.find(path);
    if (found == hashes.end()) {
      changed.push_back("data file " + path + ": is not among the files any more");
    } else {
      if (found->second != hash)
        changed.push_back("data file " + path + ": then sha256 " + hash.substr(0, 12) + ", now " +
                          found->second.substr(0, 12));
      hashes.erase(found);
    }
  }
  for (const auto& [path, unused] : hashes) changed.push_back("data file " + path + ": is new");
}

void collect_changes(const Json& then, const Json& now, const std::string& prefix,
                     std::vector<std::string>& changed) {
  for (const auto& [key, value] : then.items()) {
    std::string name = prefix;
    if (!name.empty()) name.append(".");
    name.append(key);
    const Json& other = now.is_object() && now.contains(key) ? now.at(key) : Json();
    if (value.is_object()) {
      collect_changes(value, other, name, changed);
    } else {
      compare(name, value, other, changed);
    }
  }
}

}  // namespace

RecordedRun read_run(const fs::path& folder) {
  RecordedRun run{.folder = fs::absolute(folder).lexically_normal()};
  run.info = core::read_json_file(run.folder / "run.json");
  for (const char* key : {"recipe", "max_steps", "model.fingerprint", "identity.tokenizer",
                          "data.train.key", "dtype.name", "outcome.status", "outcome.step"}) {
    if (std::string_view(key) == "outcome.step" && member(run.info, "outcome.status") == "running")
      bad_run(run, "the run is not over", "or it was killed: go on with --resume");
    if (member(run.info, key).is_null())
      bad_run(run, std::string("has no ") + key, "written by an older hone, which kept too little");
  }
  const std::string status = text_of(member(run.info, "outcome.status"));
  if (status != "finished" && status != "stopped")
    bad_run(run, "the run " + status + ": there is no result to compare with");
  const Json& step = member(run.info, "outcome.step");
  if (!step.is_number_integer() || !member(run.info, "recipe").is_object() ||
      !member(run.info, "max_steps").is_number_integer())
    bad_run(run, "recipe, max_steps or outcome.step have the wrong type");
  run.step = step.get<int64_t>();
  run.finished = status == "finished";
  return run;
}

std::string rerun_recipe(const RecordedRun& run, const fs::path& output_dir, int64_t num_steps) {
  Json recipe = run.info.at("recipe");
  const auto max_steps = run.info.at("max_steps").get<int64_t>();
  recipe["output_dir"] = output_dir.string();
  recipe["push_to_hub"] = false;
  recipe["dtype"] = member(run.info, "dtype.name");
  if (recipe.contains("report_to")) recipe["report_to"] = "none";
  const Json& commit = member(run.info, "model.commit");
  if (commit.is_string() && !commit.get<std::string>().empty()) recipe["model_revision"] = commit;
  if (num_steps < max_steps) {
    const Json& horizon = member(recipe, "scheduler_steps");
    if (!horizon.is_number_integer() || horizon == 0) recipe["scheduler_steps"] = max_steps;
    recipe["max_steps"] = num_steps;
  }
  return core::dump_json(recipe);
}

std::vector<std::string> rerun_command(const Recipe& recipe, const fs::path& program,
                                       const fs::path& recipe_file) {
  std::vector<std::string> words;
  if (const int64_t num_ranks = recipe.layout.num_ranks(); num_ranks > 1)
    words = {"mpirun", "--oversubscribe", "-np", std::to_string(num_ranks)};
  words.insert(words.end(), {program.string(), "train", recipe_file.string()});
  return words;
}

Json data_files_json(const Recipe& recipe) {
  Json files{{"train", files_of(recipe.datasets)}};
  if (!recipe.eval_datasets.empty()) files["eval"] = files_of(recipe.eval_datasets);
  return files;
}

std::vector<std::string> changed_inputs(const RecordedRun& run, const Recipe& recipe) {
  std::vector<std::string> changed;
  const ResolvedInputs inputs = resolve_inputs(recipe);
  compare("model " + recipe.model_name_or_path, member(run.info, "model.fingerprint"),
          inputs.model.fingerprint, changed);
  if (inputs.adapter)
    compare("adapter " + recipe.adapter_path, member(run.info, "adapter.fingerprint"),
            inputs.adapter->fingerprint, changed);
  const data::Tokenizer tokenizer = data::Tokenizer::load(inputs.tokenizer_folder);
  compare("tokenizer", member(run.info, "identity.tokenizer"), tokenizer.fingerprint(), changed);
  const Json files = data_files_json(recipe);
  for (const char* part : {"train", "eval"})
    compare_files(member(run.info, std::string("data.files.") + part),
                  member(files, part).is_null() ? Json::array() : member(files, part), changed);
  if (!changed.empty()) return changed;
  // The key covers what the files can't show: how this program reads and tokenizes them.
  const PreparedData data = prepare_data(recipe, tokenizer);
  compare("tokens of the training data", member(run.info, "data.train.key"), data.train.key(),
          changed);
  if (data.eval)
    compare("tokens of the evaluation data", member(run.info, "data.eval.key"), data.eval->key(),
            changed);
  return changed;
}

std::vector<std::string> changed_values(const Json& then, const Json& now) {
  std::vector<std::string> changed;
  if (then.is_object()) collect_changes(then, now, "", changed);
  return changed;
}

}  // namespace hone::recipes
