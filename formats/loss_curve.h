// The loss of a run as a picture that a README can show: one self-contained SVG that follows light
// and dark themes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone::formats {

struct CurvePoint {
  int64_t step = 0;
  double loss = 0;
};

struct LossCurve {
  std::string title;              // "Loss of me/smollm2-debian"
  std::vector<CurvePoint> train;  // as logged, by step
  std::vector<CurvePoint> eval;
};

// Points that are not finite are left out. A long training curve is thinned for drawing, and gets a
// smoothed line over the raw one.
std::string loss_curve_svg(const LossCurve& curve);

}  // namespace hone::formats
