#include "formats/gguf_quantize_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/dtype.h"

// Names (d, dmin, ql, qh, scales) are those of ggml's block structures. The order of every sum is
// the reference's, and products and sums stay separate roundings: compiled with -ffp-contract=off.
namespace hone::formats {
namespace {

constexpr float kTiny = 1e-15f;  // a group with nothing larger is stored as zeros

int nearest(float value) { return static_cast<int>(std::rint(value)); }  // ties to even

// Rounded to half, and as it will be read back.
float store_half(uint8_t* p, float value) {
  const uint16_t half = f32_to_f16(value);
  std::memcpy(p, &half, sizeof half);
  return f16_to_f32(half);
}

// x ~ scale * level - minimum with level 0..15 and minimum >= 0.
struct ScaleAndMinimum {
  float scale = 0, minimum = 0;
};

constexpr int kGroup = 32;  // values of Q4_K that share a scale and a minimum

struct GroupSums {
  float weight = 0, weighted_x = 0;  // over the group
  float low = 0, high = 0;           // low is at most 0
};

GroupSums sum_group(const float* x, const float* weights) {
  GroupSums s{.weight = weights[0], .weighted_x = weights[0] * x[0], .low = x[0], .high = x[0]};
  for (int i = 1; i < kGroup; ++i) {
    s.low = std::min(s.low, x[i]);
    s.high = std::max(s.high, x[i]);
    s.weight += weights[i];
    s.weighted_x += weights[i] * x[i];
  }
  s.low = std::min(s.low, 0.0f);
  return s;
}

// The levels for a trial inverse scale, and the sums that the best scale and minimum for these
// levels follow from.
struct Trial {
  uint8_t levels[kGroup];
  float level = 0, level2 = 0, level_x = 0;  // weighted sums
};

Trial try_scale(const float* x, const float* weights, float low, float inverse_scale) {
  Trial t;
  for (int i = 0; i < kGroup; ++i) {
    const int level = std::clamp(nearest(inverse_scale * (x[i] - low)), 0, 15);
    t.levels[i] = static_cast<uint8_t>(level);
    const auto l = static_cast<float>(level);
    t.level += weights[i] * l;
    t.level2 += weights[i] * l * l;
    t.level_x += weights[i] * l * x[i];
  }
  return t;
}

float squared_error(const float* x, const float* weights, const uint8_t* levels, float scale,
                    float low) {
  float error = 0;
  for (int i = 0; i < kGroup; ++i) {
    const float difference = scale * static_cast<float>(levels[i]) + low - x[i];
    error += weights[i] * (difference * difference);
  }
  return error;
}

// Searches around the scale that spans the whole range: for each trial the levels are rounded, then
// scale and minimum are the weighted least squares fit to them; the trial of the least error wins.
ScaleAndMinimum fit_group(const float* x, const float* weights, uint8_t* levels) {
  const GroupSums sums = sum_group(x, weights);
  float low = sums.low;  // of the best trial so far, from which the next one starts
  if (sums.high == sums.low) {
    std::fill_n(levels, kGroup, uint8_t{0});
    return {.scale = 0, .minimum = -low};
  }
  const float first_inverse = 15 / (sums.high - low);
  float scale = 1 / first_inverse;
  std::copy_n(try_scale(x, weights, low, first_inverse).levels, kGroup, levels);
  float least_error = squared_error(x, weights, levels, scale, low);
  for (int step = 0; step <= 20; ++step) {
    const float inverse_scale = (-1.0f + 0.1f * static_cast<float>(step) + 15) / (sums.high - low);
    const Trial t = try_scale(x, weights, low, inverse_scale);
    const float determinant = sums.weight * t.level2 - t.level * t.level;
    if (!(determinant > 0)) continue;
    float fitted_scale = (sums.weight * t.level_x - sums.weighted_x * t.level) / determinant;
    float fitted_low = (t.level2 * sums.weighted_x - t.level * t.level_x) / determinant;
    if (fitted_low > 0) {
      fitted_low = 0;
      fitted_scale = t.level_x / t.level2;
    }
    const float error = squared_error(x, weights, t.levels, fitted_scale, fitted_low);
    if (!(error < least_error)) continue;
    std::copy_n(t.levels, kGroup, levels);
    least_error = error;
    scale = fitted_scale;
    low = fitted_low;
  }
  return {.scale = scale, .minimum = -low};
}

// Values matter by their size: |x| + the group's root mean square.
void group_weights(const float* x, float* weights) {
  float squares = 0;
  for (int i = 0; i < kGroup; ++i) squares += x[i] * x[i];
  const float rms = std::sqrt(squares / kGroup);
  for (int i = 0; i < kGroup; ++i) weights[i] = rms + std::fabs(x[i]);
}

// Eight pairs of 6-bit scale and minimum in 12 bytes.
void pack_scales(const uint8_t* scales, const uint8_t* minima, uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    packed[j + 4] = static_cast<uint8_t>(minima[j] | ((minima[j + 4] >> 4) << 6));
    packed[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | ((minima[j + 4] & 15) << 4));
  }
}

// x ~ scale * level with level -32..31: the scale around 32 levels to the largest value that
// explains most of x, weighted by x squared. Levels come out from 0 on.
float fit_symmetric(const float* x, uint8_t* levels) {
  constexpr int kSize = 16;
  float largest = 0, value = 0;
  for (int i = 0; i < kSize; ++i) {
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      value = x[i];
    }
  }
  std::fill_n(levels, kSize, uint8_t{0});
  if (largest < kTiny) return 0;
  const auto round_level = [](float scaled) { return std::clamp(nearest(scaled), -32, 31); };
  float scale = 0, best = 0;
  const auto attempt = [&](float inverse_scale, bool first) {
    float level_x = 0, level2 = 0;
    for (int i = 0; i < kSize; ++i) {
      const auto l = static_cast<float>(round_level(inverse_scale * x[i]));
      const float weight = x[i] * x[i];
      level_x += weight * x[i] * l;
      level2 += weight * l * l;
    }
    if (first ? false : !(level2 > 0 && level_x * level_x > best * level2)) return;
    for (int i = 0; i < kSize; ++i) {
      levels[i] = static_cast<uint8_t>(32 + round_level(inverse_scale * x[i]));
    }
    scale = level2 != 0 ? level_x / level2 : 0.0f;
    best = scale * level_x;
  };
  attempt(-32 / value, true);
  for (int step = -9; step <= 9; ++step) {
    if (step != 0) attempt(-(32 + 0.1f * static_cast<float>(step)) / value, false);
  }
  return scale;
}

}  // namespace

void quantize_block_q4_k(const float* x, uint8_t* block) {
  uint8_t levels[256], scales[8], minima[8];
  ScaleAndMinimum groups[8];
  float largest_scale = 0, largest_minimum = 0;
  for (int g = 0; g < 8; ++g) {
    float weights[kGroup];
    group_weights(x + kGroup * g, weights);
    groups[g] = fit_group(x + kGroup * g, weights, levels + kGroup * g);
    largest_scale = std::max(largest_scale, groups[g].scale);
    largest_minimum = std::max(largest_minimum, groups[g].minimum);
  }
  const float inverse_scale = largest_scale > 0 ? 63.0f / largest_scale : 0.0f;
  const float inverse_minimum = largest_minimum > 0 ? 63.0f / largest_minimum : 0.0f;
  const auto six_bits = [](float v) {
    return static_cast<uint8_t>(std::min<int>(63, static_cast<uint8_t>(nearest(v))));
  };
  for (int g = 0; g < 8; ++g) {
    scales[g] = six_bits(inverse_scale * groups[g].scale);
    minima[g] = six_bits(inverse_minimum * groups[g].minimum);
  }
  const float d = store_half(block, largest_scale / 63.0f);
  const float dmin = store_half(block + 2, largest_minimum / 63.0f);
  pack_scales(scales, minima, block + 4);
  // Rounded again for the scales as they are stored.
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    if (scale == 0) continue;
    const float minimum = dmin * static_cast<float>(minima[g]);
    for (int i = kGroup * g; i < kGroup * (g + 1); ++i) {
      levels[i] = static_cast<uint8_t>(std::clamp(nearest((x[i] + minimum) / scale), 0, 15));
    }
  }
  for (int i = 0; i < 128; ++i) {
    const int low = 64 * (i / 32) + i % 32;
    block[16 + i] = static_cast<uint8_t>(levels[low] | (levels[low + 32] << 4));
  }
}

void quantize_block_q6_k(const float* x, uint8_t* block) {
  uint8_t levels[256];
  float scales[16];
  float largest = 0, largest_scale = 0;
  for (int g = 0; g < 16; ++g) {
    scales[g] = fit_symmetric(x + 16 * g, levels + 16 * g);
    if (std::fabs(scales[g]) > largest) {
      largest = std::fabs(scales[g]);
      largest_scale = scales[g];
    }
  }
  std::memset(block, 0, 210);
  if (largest < kTiny) return;
  const float inverse_scale = -128.0f / largest_scale;
  const float d = store_half(block + 208, 1 / inverse_scale);
  for (int g = 0; g < 16; ++g) {
    const auto scale = static_cast<int8_t>(std::min(127, nearest(inverse_scale * scales[g])));
    block[192 + g] = static_cast<uint8_t>(scale);
    const float step = d * static_cast<float>(scale);
    if (step == 0) continue;
    for (int i = 16 * g; i < 16 * (g + 1); ++i) {
      levels[i] = static_cast<uint8_t>(32 + std::clamp(nearest(x[i] / step), -32, 31));
    }
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* level = levels + 128 * half;
    for (int l = 0; l < 32; ++l) {
      block[64 * half + l] = static_cast<uint8_t>((level[l] & 15) | ((level[l + 64] & 15) << 4));
      block[64 * half + 32 + l] =
          static_cast<uint8_t>((level[l + 32] & 15) | ((level[l + 96] & 15) << 4));
      block[128 + 32 * half + l] =
          static_cast<uint8_t>((level[l] >> 4) | ((level[l + 32] >> 4) << 2) |
                               ((level[l + 64] >> 4) << 4) | ((level[l + 96] >> 4) << 6));
    }
  }
}

}  // namespace hone::formats
