#include "formats/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/formats/support.h"

namespace hone::formats {
namespace {

TEST(Dtype, NamesAndSizesAreThoseOfSafetensors) {
  const std::vector<std::pair<std::string, int>> expected = {
      {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
      {"I64", 64},        {"U64", 64}};
  for (const auto& [name, bits] : expected) {
    const auto dtype = find_dtype(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_EQ(dtype_name(*dtype), name);
    EXPECT_EQ(dtype_bits(*dtype), bits) << name;
  }
  EXPECT_FALSE(find_dtype("float32"));
}

TEST(Dtype, UnknownNameIsRefusedWithTheKnownOnes) {
  expect_failure([] { parse_dtype("F33", "x.safetensors"); }, core::ErrorKind::kBadInput,
                 {"x.safetensors", "\"F33\"", "BF16"});
}

TEST(Dtype, SizesThatOverflowOrSplitAByteAreNoSizes) {
  EXPECT_EQ(tensor_bytes(Dtype::kF32, {2, 3}), 24u);
  EXPECT_EQ(tensor_bytes(Dtype::kF32, {}), 4u);
  EXPECT_EQ(tensor_bytes(Dtype::kF4, {2}), 1u);
  EXPECT_FALSE(tensor_bytes(Dtype::kF4, {3}));
  EXPECT_FALSE(tensor_bytes(Dtype::kF32, {-1}));
  EXPECT_FALSE(tensor_bytes(Dtype::kU8, {int64_t{1} << 62, 8}));
  EXPECT_FALSE(tensor_bytes(Dtype::kF64, {int64_t{1} << 60}));
}

TEST(Dtype, EveryHalfGoesToFloatAndBackUnchanged) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float f = f16_to_f32(half), b = bf16_to_f32(half);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
    } else {
      ASSERT_EQ(f32_to_f16(f), half) << bits;
    }
    if (std::isnan(b)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(b))));
    } else {
      ASSERT_EQ(f32_to_bf16(b), half) << bits;
    }
  }
}

TEST(Dtype, HalfValuesAreRight) {
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0f);
  EXPECT_EQ(f16_to_f32(0xC000), -2.0f);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x03FF), 1023 * 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x7C00), std::numeric_limits<float>::infinity());
  EXPECT_EQ(bf16_to_f32(0x3FC0), 1.5f);
}

#ifdef __FLT16_MAX__
// The compiler's own conversion is the oracle for rounding, ties and the subnormal range.
TEST(Dtype, NarrowingToHalfRoundsAsTheHardwareDoes) {
  for (uint64_t i = 0; i < (uint64_t{1} << 32); i += 9973) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(i));
    if (std::isnan(value)) continue;
    ASSERT_EQ(f32_to_f16(value), std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << value;
  }
  for (const float value : {65519.99f, 65520.0f, 65504.0f, 0x1p-25f, 0x1.8p-25f, 0x1p-26f,
                            0x1.002p0f, 0x1.006p0f, 0x1.FFEp-15f, 0x1.FFFp-15f}) {
    EXPECT_EQ(f32_to_f16(value), std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << value;
    EXPECT_EQ(f32_to_f16(-value), std::bit_cast<uint16_t>(static_cast<_Float16>(-value))) << value;
  }
}
#endif

TEST(Dtype, NarrowingToBfloat16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // tie, even below
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);  // tie, even above
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  const float nan = std::bit_cast<float>(0x7F800001u);  // must not become infinity
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan))));
}

TEST(Dtype, RangesConvertElementByElement) {
  const std::vector<float> values = {0.0f, -1.5f, 3.140625f};
  std::vector<uint16_t> half(3);
  std::vector<float> back(3);
  f32_to_f16(values, half);
  f16_to_f32(half, back);
  EXPECT_EQ(back, values);
  f32_to_bf16(values, half);
  bf16_to_f32(half, back);
  EXPECT_EQ(back, values);
}

}  // namespace
}  // namespace hone::formats
