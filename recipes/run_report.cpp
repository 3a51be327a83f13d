#include "recipes/run_report.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/statistics.h"
#include "formats/svg_axis.h"
#include "recipes/run_charts.h"
#include "recipes/run_rows.h"
#include "recipes/yaml_value.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;
using formats::Report;

// The value below these names, or null: run.json of an older version has fewer.
const Json& at(const Json& json, std::initializer_list<const char*> names) {
  static const Json nothing;
  const Json* value = &json;
  for (const char* name : names) {
    if (!value->is_object() || !value->contains(name)) return nothing;
    value = &(*value)[name];
  }
  return *value;
}

// The same where names and values of a map are read.
const Json& map_at(const Json& json, std::initializer_list<const char*> names) {
  static const Json empty = Json::object();
  const Json& value = at(json, names);
  return value.is_object() ? value : empty;
}

std::optional<double> number(const Json& value) {
  return value.is_number() ? std::optional<double>(value.get<double>()) : std::nullopt;
}

std::string text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "" : value.dump();
}

std::string count_text(double value) {
  return core::format_count(static_cast<uint64_t>(std::max(0.0, value)));
}

std::string short_text(double value, int digits = 4) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.*g", digits, value);
  return buffer;
}

std::string rate_text(double rate) { return rate < 1000 ? short_text(rate) : count_text(rate); }

std::string percent_text(double share) { return formats::format_fixed(100 * share, 1) + "\u00a0%"; }

std::string title_of(const Json& run, const fs::path& run_dir) {
  std::string id = text(at(run, {"recipe", "hub_model_id"}));
  if (!id.empty()) return id;
  const fs::path folder = fs::absolute(run_dir).lexically_normal();
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

std::string subtitle_of(const Json& run) {
  const Json& adapter = at(run, {"recipe", "adapter"});
  const std::string base = text(at(run, {"recipe", "model_name_or_path"}));
  std::string words = "Full fine-tune of " + base;
  if (adapter.is_object()) {
    const std::string path = text(at(adapter, {"path"}));
    words = path.empty() ? "LoRA adapter (r " + text(at(adapter, {"r"})) + ") for " + base
                         : "LoRA adapter " + path + " for " + base + ", trained on";
  }
  const auto all = number(at(run, {"num_parameters"}));
  const auto trained = number(at(run, {"num_trainable"}));
  if (all && trained && *all > 0) {
    words += " · " + count_text(*trained) + " of " + count_text(*all) + " parameters trained (" +
             percent_text(*trained / *all) + ")";
  }
  const std::string dtype = text(at(run, {"dtype", "name"}));
  return dtype.empty() ? words : words + " · " + dtype;
}

std::string status_text(const Json& run) {
  const Json& outcome = at(run, {"outcome"});
  const std::string status = text(at(outcome, {"status"})), step = text(at(outcome, {"step"}));
  if (status == "failed") return "Failed at step " + step + ": " + text(at(outcome, {"error"}));
  if (status == "stopped") return "Stopped after step " + step + "; hone train --resume goes on.";
  return status == "running" ? "The run goes on, or was ended from outside: this is what it had "
                               "written by now."
                             : "";
}

void add_loss_figures(const std::vector<formats::CurvePoint>& train,
                      const std::vector<formats::CurvePoint>& eval, Report& report) {
  using formats::format_fixed;
  if (!eval.empty()) {
    const double last = eval.back().loss, first = eval.front().loss;
    formats::ReportFigure loss{.name = "Held-out loss", .value = format_fixed(last, 3)};
    formats::ReportFigure perplexity{.name = "Held-out perplexity",
                                     .value = short_text(std::exp(last))};
    if (eval.size() > 1 && first != 0) {
      const double change = (last - first) / std::abs(first);
      loss.note = format_fixed(first, 3) + " before, " + (change < 0 ? "−" : "+") +
                  percent_text(std::abs(change));
      loss.is_good = change < 0;
      loss.is_bad = change > 0;
      perplexity.note = short_text(std::exp(first)) + " before";
    }
    report.figures.push_back(loss);
    report.figures.push_back(perplexity);
  }
  if (!train.empty()) {
    report.figures.push_back({.name = "Training loss",
                              .value = format_fixed(train.back().loss, 3),
                              .note = format_fixed(train.front().loss, 3) + " at step " +
                                      count_text(static_cast<double>(train.front().step))});
  }
}

double sum_of(const Json& numbers) {
  double sum = 0;
  if (!numbers.is_object() && !numbers.is_array()) return number(numbers).value_or(0);
  for (const auto& [name, value] : numbers.items()) sum += number(value).value_or(0);
  return sum;
}

void add_speed_figures(const Json& run, const std::vector<Json>& rows, Report& report) {
  std::vector<double> speeds;
  double tokens = 0, step = 0;
  for (const Json& row : rows) {
    step = std::max(step, number(at(row, {"step"})).value_or(0));
    tokens = std::max(tokens, number(at(row, {"tokens"})).value_or(0));
    if (const auto speed = number(at(row, {"tokens_per_second"}))) speeds.push_back(*speed);
  }
  const std::string of = text(at(run, {"max_steps"}));
  report.figures.push_back({.name = "Steps",
                            .value = count_text(step),
                            .note = of.empty() ? "" : "of " + count_text(std::stod(of))});
  report.figures.push_back({.name = "Tokens", .value = count_text(tokens)});
  if (!speeds.empty()) {
    std::nth_element(speeds.begin(), speeds.begin() + std::ssize(speeds) / 2, speeds.end());
    formats::ReportFigure speed{.name = "Tokens a second",
                                .value = rate_text(speeds[speeds.size() / 2])};
    const auto share = number(at(run, {"throughput", "flops_share"}));
    speed.note = share && *share > 0 ? percent_text(*share) + " of the machine's GEMM rate"
                                     : "median of the rows";
    report.figures.push_back(speed);
  }
  if (const double seconds = sum_of(at(run, {"seconds"})); seconds > 0)
    report.figures.push_back({.name = "Time", .value = core::format_duration(seconds)});
  if (const auto peak = number(at(run, {"memory", "peak_rss_bytes"})))
    report.figures.push_back({.name = "Peak memory", .value = core::format_bytes(*peak)});
}

std::vector<formats::ReportSample> samples_of(const std::vector<Json>& rows) {
  std::vector<formats::ReportSample> samples;
  for (const Json& row : rows) {
    const std::string prompt = text(at(row, {"prompt"}));
    auto same = std::find_if(samples.begin(), samples.end(),
                             [&](const auto& sample) { return sample.prompt == prompt; });
    if (same == samples.end()) same = samples.insert(samples.end(), {.prompt = prompt});
    same->texts.emplace_back(row.at("step").get<int64_t>(), text(at(row, {"text"})));
    if (same->reference.empty()) same->reference = text(at(row, {"reference"}));
  }
  return samples;
}

formats::ReportData data_of(const std::string& name, const Json& info) {
  formats::ReportData data{.name = name};
  const std::pair<const char*, const char*> facts[] = {
      {"rows", "rows"},
      {"tokens", "tokens"},
      {"trained_tokens", "trained tokens"},
      {"truncated_rows", "rows cut at max_length"},
      {"truncated_tokens", "tokens cut off"},
      {"bad_rows", "rows skipped as wrong"},
      {"untrained_rows", "rows without a trained token"},
      {"duplicate_rows", "duplicate rows left out"}};
  for (const auto& [key, words] : facts) {
    if (const auto value = number(at(info, {key})))
      data.facts.emplace_back(words, count_text(*value));
  }
  for (const auto& [source, totals] : map_at(info, {"datasets"}).items()) {
    data.facts.emplace_back(source,
                            count_text(number(at(totals, {"rows"})).value_or(0)) + " rows, " +
                                count_text(number(at(totals, {"tokens"})).value_or(0)) + " tokens");
  }
  const auto tokens = number(at(info, {"tokens"})), trained = number(at(info, {"trained_tokens"}));
  if (tokens && trained && *tokens > 0) data.trained_share = *trained / *tokens;
  data.packing_fill = number(at(info, {"packing_fill"}));
  for (const Json& bin : at(info, {"lengths"})) {
    if (bin.is_array() && bin.size() == 3 && bin[0].is_number_integer() &&
        bin[1].is_number_integer() && bin[2].is_number_integer())
      data.lengths.push_back({bin[0], bin[1], bin[2]});
  }
  return data;
}

void add_seconds(const Json& run, Report& report) {
  for (const auto& [name, value] : map_at(run, {"seconds"}).items()) {
    const double amount = number(value).value_or(0);
    report.seconds.push_back({name, amount, core::format_duration(amount)});
  }
  std::stable_sort(report.seconds.begin(), report.seconds.end(),
                   [](const auto& a, const auto& b) { return a.amount > b.amount; });
  report.seconds_note = text(at(run, {"throughput", "formula"}));
}

void add_memory(const Json& run, Report& report) {
  constexpr double kBytesOfGradient = 4;  // gradients are float32
  double known = 0;
  const auto add = [&](const std::string& name, double bytes) {
    known += bytes;
    if (bytes > 0) report.memory.push_back({name, bytes, core::format_bytes(bytes)});
  };
  add("parameters", sum_of(at(run, {"param_bytes"})));
  add("gradients", kBytesOfGradient * number(at(run, {"num_trainable"})).value_or(0));
  add("optimizer state", sum_of(at(run, {"optimizer_bytes"})));
  const auto peak = number(at(run, {"memory", "peak_rss_bytes"}));
  if (!peak) return;
  if (*peak > known) add("activations, buffers, programs", *peak - known);
  report.memory_note = "Peak resident memory of the process: " + core::format_bytes(*peak) + ".";
}

void add_versions(const Json& run, Report& report) {
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) report.versions.emplace_back(name, value);
  };
  add("base model", text(at(run, {"model", "name"})));
  add("revision", text(at(run, {"model", "commit"})));
  for (const auto& [name, value] : map_at(run, {"versions"}).items()) add(name, text(value));
  add("dtype", text(at(run, {"dtype", "name"})) + " (" + text(at(run, {"dtype", "reason"})) + ")");
  add("threads", text(at(run, {"machine", "torch_threads"})));
  add("training data", text(at(run, {"data", "train", "key"})));
}

void add_links(const fs::path& run_dir, Report& report) {
  const std::pair<const char*, const char*> files[] = {
      {"README.md", "model card"},
      {"metrics.jsonl", "every logged row"},
      {"samples.jsonl", "every generated sample"},
      {"run.json", "recipe, revisions, versions, totals, outcome"},
      {"loss_curve.svg", "the card's picture"},
      {"trace.json", "trace of some steps, for ui.perfetto.dev"},
      {"tensorboard", "event files: tensorboard --logdir of this folder"}};
  for (const auto& [file, what] : files) {
    if (fs::exists(run_dir / file)) report.links.push_back({file, what});
  }
}

}  // namespace

void add_statistics(const data::TokenCache& cache, const data::Loader& loader,
                    const data::LoaderOptions& options, Json& data_info) {
  data_info["lengths"] = Json::array();
  for (const data::LengthBin& bin : data::length_histogram(cache))
    data_info["lengths"].push_back({bin.low, bin.high, bin.num_rows});
  if (options.packing)
    data_info["packing_fill"] = data::packing_fill(cache, loader, options.max_length);
}

Report read_run_report(const fs::path& run_dir) {
  const Json run = core::read_json_file(run_dir / "run.json");
  const std::vector<Json> rows = RowReader(run_dir / "metrics.jsonl").new_rows();
  const RunCharts charts = run_charts(rows);
  Report report{.title = title_of(run, run_dir),
                .subtitle = subtitle_of(run),
                .status = text(at(run, {"outcome", "status"})),
                .status_text = status_text(run)};
  add_loss_figures(charts.train_loss, charts.eval_loss, report);
  add_speed_figures(run, rows, report);
  report.loss = charts.loss;
  report.charts = charts.others;
  report.samples = samples_of(RowReader(run_dir / "samples.jsonl").new_rows());
  if (const Json& train = at(run, {"data", "train"}); train.is_object())
    report.data.push_back(data_of("Training", train));
  if (const Json& eval = at(run, {"data", "eval"}); eval.is_object())
    report.data.push_back(data_of("Held-out", eval));
  add_seconds(run, report);
  add_memory(run, report);
  if (const Json& recipe = at(run, {"recipe"}); recipe.is_object())
    report.recipe_yaml = dump_yaml(recipe);
  add_versions(run, report);
  add_links(run_dir, report);
  return report;
}

void write_run_report(const fs::path& run_dir, const fs::path& file) {
  core::write_file_atomic(file, formats::report_html(read_run_report(run_dir)));
}

}  // namespace hone::recipes
