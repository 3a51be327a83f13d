#include "formats/line_chart.h"

#include <algorithm>
#include <cmath>

#include "core/json.h"
#include "formats/curve_points.h"
#include "formats/svg_axis.h"

namespace hone::formats {
namespace {

constexpr size_t kMaxDrawn = 600;   // points of a line
constexpr size_t kSmoothFrom = 40;  // a shorter curve is drawn as it is
constexpr double kTop = 12, kRightMargin = 14, kBottomMargin = 26;
constexpr double kCharacterWidth = 6.8;  // of a tick's label, in user units

struct Frame {
  double left, right, top, bottom;
};

struct Plot {
  Axis x, y;
  Frame frame;
  double place_x(double step) const {
    return frame.left + (step - x.low) / (x.high - x.low) * (frame.right - frame.left);
  }
  double place_y(double value) const {
    return frame.bottom - (value - y.low) / (y.high - y.low) * (frame.bottom - frame.top);
  }
};

// A rate of 0.0002 has a short label; so has 150000.
std::string tick_label(double value, double step) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (step < 0.0009 || size >= 1e6) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
  }
  return format_tick(value, step);
}

Plot make_plot(const std::vector<ChartSeries>& series, ChartSize size) {
  double low = 0, high = 1, first = 0, last = 1;
  bool any = false;
  for (const ChartSeries& s : series) {
    for (const CurvePoint& p : s.points) {
      const auto step = static_cast<double>(p.step);
      low = any ? std::min(low, p.loss) : p.loss;
      high = any ? std::max(high, p.loss) : p.loss;
      first = any ? std::min(first, step) : step;
      last = any ? std::max(last, step) : step;
      any = true;
    }
  }
  Plot plot{make_axis(first, last, size.width < 600 ? 5 : 10, false, true),
            make_axis(low, high, size.height < 300 ? 4 : 6, true, false),
            {0, size.width - kRightMargin, kTop, size.height - kBottomMargin}};
  size_t longest = 1;
  for (const double tick : plot.y.ticks)
    longest = std::max(longest, tick_label(tick, plot.y.tick_step).size());
  plot.frame.left = 10 + kCharacterWidth * static_cast<double>(longest);
  return plot;
}

std::string at(const char* name, double value) {
  return std::string(" ") + name + "=\"" + format_fixed(value, 1) + "\"";
}

std::string line(const char* style, double x1, double y1, double x2, double y2) {
  return std::string("<line class=\"") + style + "\"" + at("x1", x1) + at("y1", y1) + at("x2", x2) +
         at("y2", y2) + "/>";
}

std::string label(const char* anchor, double x, double y, const std::string& text) {
  return std::string("<text text-anchor=\"") + anchor + "\"" + at("x", x) + at("y", y) + ">" +
         escape_xml(text) + "</text>";
}

std::string draw_axes(const Plot& plot) {
  std::string text;
  const Frame& f = plot.frame;
  for (const double tick : plot.y.ticks) {
    const double y = plot.place_y(tick);
    text += line("grid", f.left, y, f.right, y);
    text += label("end", f.left - 6, y + 4, tick_label(tick, plot.y.tick_step));
  }
  for (const double tick : plot.x.ticks) {
    const double x = plot.place_x(tick);
    text += line("axis", x, f.bottom, x, f.bottom + 4);
    const char* anchor = x > f.right - 12 ? "end" : "middle";
    text += label(anchor, x, f.bottom + 18, format_tick(tick, plot.x.tick_step));
  }
  return text + line("axis", f.left, f.bottom, f.right, f.bottom);
}

std::string polyline(const Plot& plot, const std::string& style,
                     const std::vector<CurvePoint>& points) {
  if (points.size() < 2) return "";
  std::string text = "<polyline class=\"line " + style + "\" points=\"";
  for (size_t i = 0; i < points.size(); ++i) {
    text += (i > 0 ? " " : "") +
            format_fixed(plot.place_x(static_cast<double>(points[i].step)), 1) + "," +
            format_fixed(plot.place_y(points[i].loss), 1);
  }
  return text + "\"/>";
}

std::string draw_series(const Plot& plot, const ChartSeries& s) {
  std::string text;
  if (s.smoothed && s.points.size() >= kSmoothFrom) {
    text += polyline(plot, s.style + " raw", thin(s.points, kMaxDrawn));
    text += polyline(plot, s.style, thin(smooth(s.points), kMaxDrawn));
  } else {
    text += polyline(plot, s.style, thin(s.points, kMaxDrawn));
  }
  if (s.points.size() == 1 || (s.with_dots && s.points.size() <= 60)) {
    for (const CurvePoint& p : s.points) {
      text += "<circle class=\"dot " + s.style + "\"" +
              at("cx", plot.place_x(static_cast<double>(p.step))) + at("cy", plot.place_y(p.loss)) +
              at("r", 4) + "/>";
    }
  }
  return text;
}

// [[name, class, [[step, value], ...]], ...] and [left, right, first step, last step, top, bottom,
// lowest value, highest value], as an attribute each.
std::string pointer_data(const Plot& plot, const std::vector<ChartSeries>& series) {
  core::Json data = core::Json::array();
  for (const ChartSeries& s : series) {
    core::Json points = core::Json::array();
    for (const CurvePoint& p : thin(s.points, kMaxDrawn)) {
      char value[32];
      std::snprintf(value, sizeof value, "%.5g", p.loss);
      points.push_back({p.step, core::Json::parse(value)});
    }
    data.push_back({s.name, s.style, points});
  }
  const core::Json frame{plot.frame.left, plot.frame.right,  plot.x.low, plot.x.high,
                         plot.frame.top,  plot.frame.bottom, plot.y.low, plot.y.high};
  const auto text = [](const core::Json& json) {
    return escape_xml(json.dump(-1, ' ', false, core::Json::error_handler_t::replace));
  };
  return " data-series=\"" + text(data) + "\" data-plot=\"" + text(frame) + "\"";
}

std::string describe(const LineChart& chart) {
  std::string text;
  for (const ChartSeries& s : chart.series) {
    if (s.points.empty()) continue;
    text += s.name + ": " + format_fixed(s.points.front().loss, 4) + " at step " +
            std::to_string(s.points.front().step) + ", " + format_fixed(s.points.back().loss, 4) +
            " at step " + std::to_string(s.points.back().step) + ". ";
  }
  return text;
}

}  // namespace

bool has_points(const LineChart& chart) {
  return std::any_of(chart.series.begin(), chart.series.end(),
                     [](const ChartSeries& s) { return !finite_points(s.points).empty(); });
}

std::string line_chart_svg(const LineChart& chart, ChartSize size) {
  LineChart finite = chart;
  for (ChartSeries& s : finite.series) s.points = finite_points(s.points);
  const Plot plot = make_plot(finite.series, size);
  // A <title> element would pop up under the pointer.
  std::string svg = "<svg class=\"chart\" viewBox=\"0 0 " + format_fixed(size.width, 0) + " " +
                    format_fixed(size.height, 0) + "\" role=\"img\" aria-label=\"" +
                    escape_xml(chart.title + ". " + describe(finite)) + "\"" +
                    pointer_data(plot, finite.series) + ">" + draw_axes(plot);
  for (const ChartSeries& s : finite.series) svg += draw_series(plot, s);
  return svg + "</svg>\n";
}

}  // namespace hone::formats
