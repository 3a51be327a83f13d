#include "recipes/run_charts.h"

#include <map>
#include <string>

namespace hone::recipes {
namespace {

using core::Json;
using formats::ChartSeries;
using formats::LineChart;

// Charts in the order their names came first.
class ChartList {
 public:
  LineChart& chart(const std::string& name) {
    const auto [place, is_new] = places_.emplace(name, charts_.size());
    if (is_new) charts_.push_back({});
    return charts_[place->second];
  }
  std::vector<LineChart> charts() && { return std::move(charts_); }

 private:
  std::map<std::string, size_t> places_;
  std::vector<LineChart> charts_;
};

struct ChartWords {
  const char *title, *unit;
};

ChartWords words_of(const std::string& key) {
  static const std::map<std::string, ChartWords> known = {
      {"learning_rate", {"Learning rate", ""}},
      {"grad_norm", {"Gradient norm", "before clipping"}},
      {"tokens_per_second", {"Speed", "tokens a second"}},
      {"flops_share", {"Share of the GEMM rate", "1 is all of it"}}};
  const auto found = known.find(key);
  return found == known.end() ? ChartWords{key.c_str(), ""} : found->second;
}

ChartSeries& series_of(LineChart& chart, const std::string& name) {
  for (ChartSeries& s : chart.series) {
    if (s.name == name) return s;
  }
  chart.series.push_back(
      {.name = name, .style = "s-" + std::to_string(chart.series.size() % 8 + 1)});
  return chart.series.back();
}

// {"chat": 1.5} or {"chat": {"loss": 1.5, ...}}
void add_by_dataset(int64_t step, const Json& losses, LineChart& chart) {
  for (const auto& [name, value] : losses.items()) {
    const Json& loss = value.is_object() && value.contains("loss") ? value["loss"] : value;
    if (loss.is_number()) series_of(chart, name).points.push_back({step, loss.get<double>()});
  }
}

void add_number(int64_t step, const std::string& key, double value, ChartList& list) {
  if (key == "step" || key == "loss" || key == "eval_loss" || key == "tokens") return;
  LineChart& chart = list.chart(key);
  if (chart.series.empty()) {
    const ChartWords words = words_of(key);
    chart.title = words.title;
    chart.unit = words.unit;
    // A rate is what it is; smoothed, its warm-up would look like another one.
    const bool is_noisy = key != "learning_rate";
    chart.series.push_back({.name = chart.title, .style = "s-train", .smoothed = is_noisy});
  }
  chart.series[0].points.push_back({step, value});
}

}  // namespace

RunCharts run_charts(const std::vector<Json>& rows) {
  RunCharts result;
  LineChart train_datasets{.title = "Training loss by dataset", .unit = "nats per token"};
  LineChart eval_datasets{.title = "Held-out loss by dataset", .unit = "nats per token"};
  ChartList numbers;
  for (const Json& row : rows) {
    const int64_t step = row.at("step");
    for (const auto& [key, value] : row.items()) {
      if (key == "loss" && value.is_number()) result.train_loss.push_back({step, value});
      if (key == "eval_loss" && value.is_number()) result.eval_loss.push_back({step, value});
      if (value.is_object())
        add_by_dataset(step, value, key.starts_with("eval_") ? eval_datasets : train_datasets);
      if (value.is_number()) add_number(step, key, value, numbers);
    }
  }
  result.loss = {.title = "Loss",
                 .unit = "nats per token, by optimizer step",
                 .series = {{"training", "s-train", result.train_loss, false, true},
                            {"held-out", "s-eval", result.eval_loss, true, false}}};
  if (result.eval_loss.empty()) result.loss.series.pop_back();
  for (LineChart* chart : {&train_datasets, &eval_datasets}) {
    for (ChartSeries& s : chart->series) s.smoothed = true;
    if (!chart->series.empty()) result.others.push_back(std::move(*chart));
  }
  for (LineChart& chart : std::move(numbers).charts()) result.others.push_back(std::move(chart));
  return result;
}

}  // namespace hone::recipes
