// Numbers, ranges and ticks of a plot axis.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone::formats {

struct Axis {
  double low = 0, high = 1;
  std::vector<double> ticks;  // inside [low, high]
  double tick_step = 1;
};

// About `num_ticks` ticks at 1, 2 or 5 times a power of ten; low and high are moved out to ticks
// where `to_ticks`. A range without width is widened. With `whole`, ticks are whole numbers.
Axis make_axis(double low, double high, int num_ticks, bool to_ticks, bool whole);

// Fixed notation, never by locale: format_fixed(1.25, 1) is "1.2".
std::string format_fixed(double value, int decimals);
// The tick's label with just the decimals its step needs.
std::string format_tick(double value, double step);
std::string escape_xml(std::string_view text);

}  // namespace hone::formats
