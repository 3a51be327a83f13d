#include "formats/svg_axis.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace hone::formats {
namespace {

double nice_step(double range, int num_ticks, bool whole) {
  const double raw = range / num_ticks;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (raw <= factor * power * (1 + 1e-9)) step = factor * power;
  }
  return whole ? std::max(1.0, std::round(step)) : step;
}

}  // namespace

Axis make_axis(double low, double high, int num_ticks, bool to_ticks, bool whole) {
  const double least = std::max({1e-9 * std::abs(low), 1e-9 * std::abs(high), 1e-12});
  if (high - low < least) {
    const double margin = whole ? 1 : std::max(0.05 * std::abs(low), 0.05);
    low -= margin;
    high += margin;
  }
  Axis axis;
  axis.tick_step = nice_step(high - low, num_ticks, whole);
  const double first = std::ceil(low / axis.tick_step - 1e-9);
  const double last = std::floor(high / axis.tick_step + 1e-9);
  axis.low = to_ticks ? std::floor(low / axis.tick_step + 1e-9) * axis.tick_step : low;
  axis.high = to_ticks ? std::ceil(high / axis.tick_step - 1e-9) * axis.tick_step : high;
  const double from = to_ticks ? std::round(axis.low / axis.tick_step) : first;
  const double to = to_ticks ? std::round(axis.high / axis.tick_step) : last;
  for (double i = from; i <= to && axis.ticks.size() < 100; ++i) {
    axis.ticks.push_back(i * axis.tick_step);
  }
  return axis;
}

std::string format_fixed(double value, int decimals) {
  char text[400];
  const auto result =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals);
  std::string out(text, result.ptr);
  return out.find_first_not_of("-0.") == std::string::npos && out[0] == '-' ? out.substr(1) : out;
}

std::string format_tick(double value, double step) {
  if (std::abs(value) >= 1e6 || (value != 0 && std::abs(value) < 1e-6)) {
    char text[40];
    const auto result =
        std::to_chars(text, text + sizeof text, value, std::chars_format::general, 4);
    return {text, result.ptr};
  }
  return format_fixed(value,
                      std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 9));
}

std::string escape_xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Other control characters are not allowed in XML at all.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n') out += c;
    }
  }
  return out;
}

}  // namespace hone::formats
