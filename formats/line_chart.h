// Values over optimizer steps as an SVG for a page whose style sheet gives the classes their
// colours.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "formats/loss_curve.h"

namespace hone::formats {

struct ChartSeries {
  std::string name;                // in the legend
  std::string style;               // its class: "s-train", "s-eval", "s-1" ...
  std::vector<CurvePoint> points;  // by step; values that are not finite are left out
  bool with_dots = false;          // points are few and each counts
  bool smoothed = false;           // a long curve gets a smoothed line over the raw one
};

struct LineChart {
  std::string title;
  std::string unit;  // after the title, "nats per token"
  std::vector<ChartSeries> series;
};

struct ChartSize {
  double width = 400, height = 220;
};

bool has_points(const LineChart& chart);
// Carries its points as data-series and data-plot for a script that shows values under the pointer.
std::string line_chart_svg(const LineChart& chart, ChartSize size);

}  // namespace hone::formats
