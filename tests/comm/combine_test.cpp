#include "parallel/comm/combine.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/comm/values.h"

namespace hone::parallel {
namespace {

TEST(Combine, TheTreeIsTheDocumentedOne) {
  // In float32, 1e8 + 1 = 1e8: the order shows.
  const float a = 1e8F, b = 1.0F, c = 1.0F, d = -1e8F;
  float out = 0;
  combine_tree(DType::kFloat32, ReduceOp::kSum, {&a, &b, &c, &d}, &out, 1);
  EXPECT_EQ(out, (a + b) + (c + d));
  const float e = -1e8F;
  combine_tree(DType::kFloat32, ReduceOp::kSum, {&a, &b, &e}, &out, 1);
  EXPECT_EQ(out, 0.0F);  // (a + b) + e
  const float two = 2.0F;
  combine_tree(DType::kFloat32, ReduceOp::kSum, {&two, &two, &two, &two, &a}, &out, 1);
  EXPECT_EQ(out, 100000008.0F);  // one after the other from the last it would stay 1e8
}

TEST(Combine, EveryNumberOfInputsEqualsTheDefinition) {
  for (const DType dtype : test::kDTypes) {
    for (int inputs = 1; inputs <= 9; ++inputs) {
      std::vector<test::Buffer> buffers;
      std::vector<const void*> pointers;
      for (int i = 0; i < inputs; ++i) buffers.push_back(test::values(dtype, 2500, i));
      for (const test::Buffer& buffer : buffers) pointers.push_back(buffer.data());
      test::Buffer out(buffers[0].size());
      combine_tree(dtype, ReduceOp::kSum, pointers, out.data(), 2500);
      EXPECT_NO_THROW(
          test::same(out, test::reduced(dtype, ReduceOp::kSum, 2500, inputs), "sum", dtype, 2500));
    }
  }
}

TEST(DTypes, EveryHalfSurvivesTheWayToFloatAndBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = float16_to_float(half);
    const uint32_t exponent = (bits >> 10) & 31U, fraction = bits & 1023U;
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(float16_to_float(float_to_float16(value))));
      continue;
    }
    // The definition: subnormals have no hidden bit.
    const double magnitude = exponent == 31 ? std::numeric_limits<double>::infinity()
                             : exponent == 0
                                 ? std::ldexp(fraction, -24)
                                 : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    ASSERT_EQ(value, (bits & 0x8000U) != 0 ? -magnitude : magnitude) << bits;
    ASSERT_EQ(float_to_float16(value), half) << bits;
  }
}

TEST(DTypes, FloatsRoundToTheNearestEvenHalf) {
  // Halfway between neighbours, and one float32 step to either side.
  for (uint32_t bits = 0; bits < 0x7bffU; ++bits) {
    const auto low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
    const float middle = (float16_to_float(low) + float16_to_float(high)) / 2;
    const uint16_t even = (bits & 1U) == 0 ? low : high;
    ASSERT_EQ(float_to_float16(middle), even) << bits;
    ASSERT_EQ(float_to_float16(std::nextafter(middle, 0.0F)), low) << bits;
    ASSERT_EQ(float_to_float16(std::nextafter(middle, 1e9F)), high) << bits;
  }
  EXPECT_EQ(float_to_float16(65519.99F), 0x7bff);
  EXPECT_EQ(float_to_float16(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_float16(-1e30F), 0xfc00);
}

TEST(DTypes, FloatsRoundToTheNearestEvenBFloat16) {
  for (uint32_t bits = 0; bits < 0x7f7fU; ++bits) {
    const auto low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
    const auto middle = std::bit_cast<float>((bits << 16) | 0x8000U);
    const uint16_t even = (bits & 1U) == 0 ? low : high;
    ASSERT_EQ(float_to_bfloat16(middle), even) << bits;
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>((bits << 16) | 0x7fffU)), low) << bits;
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>((bits << 16) | 0x8001U)), high) << bits;
    ASSERT_EQ(float_to_bfloat16(bfloat16_to_float(low)), low) << bits;
  }
  EXPECT_TRUE(std::isnan(
      bfloat16_to_float(float_to_bfloat16(std::numeric_limits<float>::signaling_NaN()))));
}

}  // namespace
}  // namespace hone::parallel
