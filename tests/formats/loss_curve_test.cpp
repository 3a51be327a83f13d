#include "formats/loss_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/svg_axis.h"
#include "tests/formats/support.h"
#include "tests/formats/well_formed.h"

namespace hone::formats {
namespace {

// Every coordinate is a number inside the picture.
void expect_inside(const std::string& svg) {
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  size_t num_coordinates = 0;
  for (const std::string name : {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy"}) {
    const std::string start = " " + name + "=\"";
    for (size_t at = svg.find(start); at != std::string::npos; at = svg.find(start, at + 1)) {
      const double value = std::stod(svg.substr(at + start.size()));
      EXPECT_GE(value, 0) << name;
      EXPECT_LE(value, 760) << name;
      ++num_coordinates;
    }
  }
  EXPECT_GT(num_coordinates, 10u);
}

LossCurve curve_of(int64_t num_points) {
  LossCurve curve{.title = "Loss"};
  for (int64_t i = 1; i <= num_points; ++i) {
    curve.train.push_back(
        {i, 1.0 + 2.0 / static_cast<double>(i) + 0.01 * static_cast<double>(i % 7)});
  }
  return curve;
}

class LossCurveOf : public ::testing::TestWithParam<int64_t> {};

TEST_P(LossCurveOf, PointsIsWellFormedAndInside) {
  LossCurve curve = curve_of(GetParam());
  for (const bool with_eval : {false, true}) {
    if (with_eval) curve.eval = {{0, 3.0}, {GetParam(), 1.1}};
    const std::string svg = loss_curve_svg(curve);
    expect_well_formed(svg);
    expect_inside(svg);
    EXPECT_LT(svg.size(), 60'000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Numbers, LossCurveOf, ::testing::Values(0, 1, 2, 3, 39, 40, 1000, 10'000));

TEST(LossCurve, ShowsBothCurvesAxesAndFirstAndLastHeldOutLoss) {
  LossCurve curve = curve_of(100);
  curve.eval = {{0, 2.8504}, {50, 1.9}, {100, 1.2791}};
  const std::string svg = loss_curve_svg(curve);
  for (const char* part :
       {"training", "held-out", "optimizer step", "nats per token", ">2.850<", ">1.279<",
        "prefers-color-scheme:dark", "<title>Loss</title>", "class=\"grid\"",
        "Held-out loss from 2.850 at step 0 to 1.279 at step 100"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(svg.find("href"), std::string::npos);  // nothing from elsewhere
  EXPECT_EQ(svg.find("<script"), std::string::npos);
}

TEST(LossCurve, EmptyCurveSaysSo) {
  EXPECT_NE(loss_curve_svg({}).find("no loss was logged"), std::string::npos);
}

TEST(LossCurve, PointsThatAreNotFiniteAreLeftOut) {
  LossCurve curve{.title = "t"};
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               inf = std::numeric_limits<double>::infinity();
  curve.train = {{1, nan}, {2, inf}, {3, -inf}, {4, 1e300}};
  EXPECT_NE(loss_curve_svg(curve).find("no loss was logged"), std::string::npos);
  curve.train.push_back({5, 2.0});
  expect_inside(loss_curve_svg(curve));
}

TEST(LossCurve, FlatAndTinyCurvesStayInside) {
  for (const double level : {0.0, 1e-9, 2.5, 1e12}) {
    LossCurve curve{
        .title = "t", .train = {{1, level}, {2, level}, {3, level}}, .eval = {{7, level}}};
    const std::string svg = loss_curve_svg(curve);
    expect_well_formed(svg);
    expect_inside(svg);
  }
}

TEST(LossCurve, TitleIsEscaped) {
  const std::string svg = loss_curve_svg({.title = "a<script>\"&'\x01"});
  expect_well_formed(svg);
  EXPECT_NE(svg.find("a&lt;script&gt;&quot;&amp;&#39;<"), std::string::npos);
}

TEST(Axis, TicksAreRoundNumbersInsideTheRange) {
  const Axis axis = make_axis(1.13, 2.97, 6, true, false);
  EXPECT_LE(axis.low, 1.13);
  EXPECT_GE(axis.high, 2.97);
  EXPECT_DOUBLE_EQ(axis.tick_step, 0.5);
  ASSERT_EQ(axis.ticks.size(), 5u);
  EXPECT_EQ(format_tick(axis.ticks[1], axis.tick_step), "1.5");
  const Axis steps = make_axis(0, 3, 8, false, true);
  EXPECT_EQ(steps.ticks, (std::vector<double>{0, 1, 2, 3}));
}

TEST(Axis, LabelsHaveTheDecimalsTheirStepNeeds) {
  EXPECT_EQ(format_tick(0.25, 0.05), "0.25");
  EXPECT_EQ(format_tick(20, 20), "20");
  EXPECT_EQ(format_tick(-0.0, 0.5), "0.0");
  EXPECT_EQ(format_fixed(-0.04, 1), "0.0");
}

}  // namespace
}  // namespace hone::formats
