#include "formats/curve_points.h"

#include <algorithm>
#include <cmath>

namespace hone::formats {

std::vector<CurvePoint> finite_points(const std::vector<CurvePoint>& points) {
  std::vector<CurvePoint> kept;
  for (const CurvePoint& p : points) {
    if (std::isfinite(p.loss) && std::abs(p.loss) < 1e30) kept.push_back(p);
  }
  return kept;
}

std::vector<CurvePoint> thin(const std::vector<CurvePoint>& points, size_t most) {
  if (points.size() <= most) return points;
  std::vector<CurvePoint> thinned;
  for (size_t i = 0; i < most; ++i) {
    const size_t begin = i * points.size() / most, end = (i + 1) * points.size() / most;
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += points[j].loss;
    thinned.push_back({points[(begin + end) / 2].step, sum / static_cast<double>(end - begin)});
  }
  return thinned;
}

std::vector<CurvePoint> smooth(const std::vector<CurvePoint>& points) {
  const size_t radius = std::max<size_t>(1, points.size() / 40);
  std::vector<CurvePoint> result = points;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t reach = std::min({radius, i, points.size() - 1 - i});
    double sum = 0;
    for (size_t j = i - reach; j <= i + reach; ++j) sum += points[j].loss;
    result[i].loss = sum / static_cast<double>(2 * reach + 1);
  }
  return result;
}

}  // namespace hone::formats
