// What is done to the points of a curve before it is drawn.
#pragma once

#include <vector>

#include "formats/loss_curve.h"

namespace hone::formats {

std::vector<CurvePoint> finite_points(const std::vector<CurvePoint>& points);
// At most `most`: means of consecutive groups, so that no part of a long run is left out.
std::vector<CurvePoint> thin(const std::vector<CurvePoint>& points, size_t most);
// A centred mean over a twentieth of the curve: no lag, unlike a running average.
std::vector<CurvePoint> smooth(const std::vector<CurvePoint>& points);

}  // namespace hone::formats
