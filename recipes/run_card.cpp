#include "recipes/run_card.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/yaml.h"
#include "formats/loss_curve.h"
#include "formats/model_card.h"
#include "recipes/inputs.h"
#include "recipes/program.h"
#include "recipes/yaml_value.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr const char* kCurveFile = "loss_curve.svg";

struct Metrics {
  formats::LossCurve curve;
  double tokens_per_second = 0;  // median of the logged rows
  int64_t num_tokens = 0;
};

Metrics read_metrics(const fs::path& path) {
  Metrics metrics;
  std::vector<double> speeds;
  std::istringstream lines(core::read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const Json row = core::parse_json(line, path.string());
    if (row.contains("eval_loss"))
      metrics.curve.eval.push_back({row.at("step"), row.at("eval_loss")});
    if (!row.contains("loss")) continue;
    metrics.curve.train.push_back({row.at("step"), row.at("loss")});
    metrics.num_tokens = row.value("tokens", int64_t{0});
    speeds.push_back(row.value("tokens_per_second", 0.0));
  }
  if (!speeds.empty()) {
    std::nth_element(speeds.begin(), speeds.begin() + static_cast<ptrdiff_t>(speeds.size() / 2),
                     speeds.end());
    metrics.tokens_per_second = speeds[speeds.size() / 2];
  }
  return metrics;
}

// The licence in the front matter of the card in a model's or dataset's folder, "" when it says
// nothing; the licence's own name where it is "other".
std::string card_license(const fs::path& folder) {
  const fs::path readme = folder / "README.md";
  if (!fs::is_regular_file(readme)) return "";
  const std::string text = core::read_file(readme);
  const size_t end = text.find("\n---", 3);
  if (!text.starts_with("---") || end == std::string::npos) return "";
  std::vector<core::YamlProblem> problems;
  const core::YamlNode front = core::parse_yaml(text.substr(4, end - 3), problems);
  const core::YamlNode* license = front.find("license");
  const core::YamlNode* name = front.find("license_name");
  if (license != nullptr && license->scalar == "other" && name != nullptr) return name->scalar;
  return license == nullptr ? "" : license->scalar;
}

fs::path folder_of(const fs::path& path) {
  return fs::is_directory(path) ? path : path.parent_path();
}

void add_data(const std::vector<data::DatasetSource>& sources, const std::string& use,
              const data::TokenCache& cache, formats::ModelCard& card) {
  for (const data::DatasetSource& source : sources) {
    formats::ModelCardData entry{.name = source.path.string(), .use = use};
    entry.license = card_license(folder_of(source.path));
    if (sources.size() == 1) entry.rows = cache.num_rows();
    if (fs::is_regular_file(source.path)) entry.sha256 = file_hash(source.path);
    card.data.push_back(std::move(entry));
  }
}

void add_measurements(const RunOutcome& outcome, formats::ModelCard& card) {
  const auto perplexity = [](const std::optional<double>& loss) {
    return loss ? std::optional<double>(std::exp(*loss)) : std::nullopt;
  };
  if (outcome.last_eval_loss) {
    card.measurements.push_back({"held-out loss", outcome.first_eval_loss, outcome.last_eval_loss});
    card.measurements.push_back({"held-out perplexity", perplexity(outcome.first_eval_loss),
                                 perplexity(outcome.last_eval_loss)});
  }
  card.measurements.push_back({"training loss", std::nullopt, outcome.last_loss});
}

std::string rows_text(const data::TokenCache& cache) {
  return core::format_count(static_cast<uint64_t>(cache.num_rows())) + " rows";
}

std::string summary_of(const PreparedData& data) {
  std::string text = "Trained on " + rows_text(data.train);
  if (!data.eval) return text + ".";
  text += ", measured on " + rows_text(*data.eval);
  const bool has_copies = data.contamination && !data.contamination->rows.empty() &&
                          data.contamination->num_eval_rows == data.eval->num_rows();
  if (!has_copies) return text + " that it was not trained on.";
  const auto num_copies = static_cast<uint64_t>(data.contamination->rows.size());
  return text + ", of which " + core::format_count(num_copies) +
         " also stand in the training data.";
}

// Only an id may look like one: a hub would link it.
std::string base_name(const Recipe& recipe, const ResolvedInputs& inputs) {
  const std::string& name = recipe.model_name_or_path;
  const bool is_path = inputs.model.origin == hub::Origin::kFolder;
  return is_path && !name.starts_with('/') && !name.starts_with('.') ? "./" + name : name;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

void add_training(const Recipe& recipe, const RunOutcome& outcome, const Metrics& metrics,
                  formats::ModelCard& card) {
  card.training = {
      {"optimizer steps", std::to_string(outcome.step)},
      {"rows a step", std::to_string(recipe.global_batch_size)},
      {"max_length", std::to_string(recipe.loader.max_length)},
      {"packing", recipe.loader.packing ? "yes" : "no"},
      {"learning rate", number_text(recipe.train.schedule.learning_rate) + ", " +
                            recipe.resolved.at("lr_scheduler_type").get<std::string>()},
      {"compute dtype", outcome.dtype},
      {"seed", std::to_string(recipe.train.seed)},
      {"tokens fed", core::format_count(static_cast<uint64_t>(metrics.num_tokens))},
      {"tokens a second", number_text(std::round(metrics.tokens_per_second * 10) / 10)}};
  if (recipe.adapter.enabled()) {
    card.training.push_back({"LoRA", "r " + std::to_string(recipe.adapter.r) + ", alpha " +
                                         number_text(recipe.adapter.lora_alpha) + ", dropout " +
                                         number_text(recipe.adapter.lora_dropout)});
  }
}

}  // namespace

void write_run_card(const Recipe& recipe, const ResolvedInputs& inputs, const PreparedData& data,
                    const RunOutcome& outcome) {
  const fs::path& output = recipe.train.output_dir;
  Metrics metrics = read_metrics(output / "metrics.jsonl");
  formats::ModelCard card;
  card.model_id = recipe.hub.model_id.empty() ? output.filename().string() : recipe.hub.model_id;
  card.summary = summary_of(data);
  card.base_model = base_name(recipe, inputs);
  card.base_model_revision = inputs.model.commit;
  card.is_adapter = recipe.trains_adapter();
  card.license = card_license(inputs.model.folder);
  metrics.curve.title = "Loss of " + card.model_id;
  core::write_file_atomic(output / kCurveFile, formats::loss_curve_svg(metrics.curve));
  card.loss_curve_file = kCurveFile;
  add_measurements(outcome, card);
  card.proofs = outcome.proofs;
  add_data(recipe.datasets, "training", data.train, card);
  if (data.eval) add_data(recipe.eval_datasets, "held-out", *data.eval, card);
  add_training(recipe, outcome, metrics, card);
  card.versions = {{"hone", version_text()}};
  card.recipe_yaml = dump_yaml(recipe.resolved);
  core::write_file_atomic(output / "README.md", formats::model_card_markdown(card));
}

}  // namespace hone::recipes
