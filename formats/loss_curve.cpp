#include "formats/loss_curve.h"

#include <algorithm>
#include <cmath>

#include "formats/curve_points.h"
#include "formats/svg_axis.h"

namespace hone::formats {
namespace {

constexpr double kWidth = 760, kHeight = 420;
constexpr double kLeft = 64, kRight = 736, kTop = 70, kBottom = 364;  // the plot's frame
constexpr size_t kMaxDrawn = 600;                                     // points of a line
constexpr size_t kSmoothFrom = 40;  // a shorter curve is drawn as it is

constexpr char kStyle[] = R"(<style>
.back{fill:#ffffff;stroke:#d8dee4}
.text{fill:#57606a;font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.title{fill:#1f2328;font-size:16px;font-weight:600}
.grid{stroke:#eaeef2}
.axis{stroke:#8c959f}
.line{fill:none;stroke-linejoin:round;stroke-linecap:round}
.raw{stroke:#1f6feb;stroke-opacity:.28;stroke-width:1}
.train{stroke:#1f6feb;stroke-width:2.2}
.eval{stroke:#d1570d;stroke-width:2.2}
.train-dot{fill:#1f6feb}
.eval-dot{fill:#d1570d;stroke:#ffffff}
.value{fill:#d1570d;font-weight:600;paint-order:stroke;stroke:#ffffff;stroke-width:4px}
@media(prefers-color-scheme:dark){
.back{fill:#0d1117;stroke:#30363d}
.text{fill:#9198a1}
.title{fill:#f0f6fc}
.grid{stroke:#21262d}
.axis{stroke:#6e7681}
.raw,.train{stroke:#6cb0ff}
.eval{stroke:#ffa657}
.train-dot{fill:#6cb0ff}
.eval-dot{fill:#ffa657;stroke:#0d1117}
.value{fill:#ffa657;stroke:#0d1117}
}
</style>
)";

struct Plot {
  Axis x, y;
  double place_x(int64_t step) const {
    return kLeft + (static_cast<double>(step) - x.low) / (x.high - x.low) * (kRight - kLeft);
  }
  double place_y(double loss) const {
    return kBottom - (loss - y.low) / (y.high - y.low) * (kBottom - kTop);
  }
};

Plot make_plot(const std::vector<CurvePoint>& train, const std::vector<CurvePoint>& eval) {
  double low = 0, high = 1;
  int64_t first = 0, last = 1;
  bool any = false;
  for (const auto* points : {&train, &eval}) {
    for (const CurvePoint& p : *points) {
      low = any ? std::min(low, p.loss) : p.loss;
      high = any ? std::max(high, p.loss) : p.loss;
      first = any ? std::min(first, p.step) : p.step;
      last = any ? std::max(last, p.step) : p.step;
      any = true;
    }
  }
  return {make_axis(static_cast<double>(first), static_cast<double>(last), 8, false, true),
          make_axis(low, high, 6, true, false)};
}

std::string at(const char* name, double value) {
  return std::string(" ") + name + "=\"" + format_fixed(value, 1) + "\"";
}

std::string line(const char* style, double x1, double y1, double x2, double y2) {
  return std::string("<line class=\"") + style + "\"" + at("x1", x1) + at("y1", y1) + at("x2", x2) +
         at("y2", y2) + "/>\n";
}

std::string label(const char* style, const char* anchor, double x, double y,
                  const std::string& text) {
  return std::string("<text class=\"text ") + style + "\" text-anchor=\"" + anchor + "\"" +
         at("x", x) + at("y", y) + ">" + escape_xml(text) + "</text>\n";
}

std::string dot(const char* style, double x, double y, double radius) {
  return std::string("<circle class=\"") + style + "\"" + at("cx", x) + at("cy", y) +
         at("r", radius) + "/>\n";
}

std::string polyline(const char* style, const Plot& plot, const std::vector<CurvePoint>& points) {
  if (points.size() < 2) return "";
  std::string text = std::string("<polyline class=\"line ") + style + "\" points=\"";
  for (size_t i = 0; i < points.size(); ++i) {
    text += (i > 0 ? " " : "") + format_fixed(plot.place_x(points[i].step), 1) + "," +
            format_fixed(plot.place_y(points[i].loss), 1);
  }
  return text + "\"/>\n";
}

std::string draw_axes(const Plot& plot) {
  std::string text;
  for (const double tick : plot.y.ticks) {
    const double y = plot.place_y(tick);
    text += line("grid", kLeft, y, kRight, y);
    text += label("", "end", kLeft - 8, y + 4, format_tick(tick, plot.y.tick_step));
  }
  for (const double tick : plot.x.ticks) {
    const double x = plot.place_x(static_cast<int64_t>(tick));
    text += line("axis", x, kBottom, x, kBottom + 4);
    text += label("", "middle", x, kBottom + 19, format_tick(tick, plot.x.tick_step));
  }
  text += line("axis", kLeft, kBottom, kRight, kBottom);
  text += label("", "middle", (kLeft + kRight) / 2, kBottom + 40, "optimizer step");
  text += "<text class=\"text\" text-anchor=\"middle\" transform=\"translate(18 " +
          format_fixed((kTop + kBottom) / 2, 1) + ") rotate(-90)\">loss (nats per token)</text>\n";
  return text;
}

std::string draw_train(const Plot& plot, const std::vector<CurvePoint>& train) {
  if (train.size() == 1)
    return dot("train-dot", plot.place_x(train[0].step), plot.place_y(train[0].loss), 3.5);
  if (train.size() < kSmoothFrom) return polyline("train", plot, train);
  return polyline("raw", plot, thin(train, kMaxDrawn)) +
         polyline("train", plot, thin(smooth(train), kMaxDrawn));
}

// The first and the last held-out loss carry their values: that pair is what a reader looks for.
std::string draw_eval(const Plot& plot, const std::vector<CurvePoint>& eval) {
  std::string text = polyline("eval", plot, thin(eval, kMaxDrawn));
  const auto value = [&](const CurvePoint& p, const char* anchor) {
    const double y = plot.place_y(p.loss);
    const double shift = anchor == std::string("start") ? 8 : 0;
    return label("value", anchor, plot.place_x(p.step) + shift, y < kTop + 16 ? y + 20 : y - 10,
                 format_fixed(p.loss, 3));
  };
  if (eval.size() <= 60) {
    for (const CurvePoint& p : eval)
      text += dot("eval-dot", plot.place_x(p.step), plot.place_y(p.loss), 4);
  }
  if (!eval.empty()) text += value(eval.front(), eval.size() > 1 ? "start" : "middle");
  if (eval.size() > 1) text += value(eval.back(), "end");
  return text;
}

std::string draw_legend(bool has_train, bool has_eval) {
  std::string text;
  double x = kLeft;
  constexpr double kY = 54;
  if (has_train) {
    text += line("train", x, kY - 4, x + 22, kY - 4) + label("", "start", x + 28, kY, "training");
    x += 100;
  }
  if (has_eval) {
    text += line("eval", x, kY - 4, x + 22, kY - 4) + dot("eval-dot", x + 11, kY - 4, 4) +
            label("", "start", x + 28, kY, "held-out");
  }
  return text;
}

std::string describe(const std::vector<CurvePoint>& points, const std::string& name) {
  if (points.empty()) return "";
  return name + " loss from " + format_fixed(points.front().loss, 3) + " at step " +
         std::to_string(points.front().step) + " to " + format_fixed(points.back().loss, 3) +
         " at step " + std::to_string(points.back().step) + ". ";
}

}  // namespace

std::string loss_curve_svg(const LossCurve& curve) {
  const std::vector<CurvePoint> train = finite_points(curve.train),
                                eval = finite_points(curve.eval);
  const Plot plot = make_plot(train, eval);
  const std::string size = format_fixed(kWidth, 0) + " " + format_fixed(kHeight, 0);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + size + "\" width=\"" +
      format_fixed(kWidth, 0) + "\" height=\"" + format_fixed(kHeight, 0) +
      "\" role=\"img\">\n<title>" + escape_xml(curve.title) + "</title>\n<desc>" +
      escape_xml(describe(train, "Training") + describe(eval, "Held-out")) + "</desc>\n" + kStyle;
  svg += "<rect class=\"back\" x=\"0.5\" y=\"0.5\" width=\"759\" height=\"419\" rx=\"8\"/>\n";
  svg += label("title", "start", kLeft, 32, curve.title);
  svg += draw_axes(plot);
  if (train.empty() && eval.empty()) {
    svg += label("", "middle", (kLeft + kRight) / 2, (kTop + kBottom) / 2, "no loss was logged");
  }
  svg +=
      draw_train(plot, train) + draw_eval(plot, eval) + draw_legend(!train.empty(), !eval.empty());
  return svg + "</svg>\n";
}

}  // namespace hone::formats
