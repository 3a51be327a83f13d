// The rows of metrics.jsonl as charts.
#pragma once

#include <vector>

#include "core/json.h"
#include "formats/line_chart.h"

namespace hone::recipes {

struct RunCharts {
  std::vector<formats::CurvePoint> train_loss, eval_loss;
  formats::LineChart loss;  // both
  std::vector<formats::LineChart>
      others;  // losses by dataset, then every other number that is logged
};

RunCharts run_charts(const std::vector<core::Json>& rows);

}  // namespace hone::recipes
