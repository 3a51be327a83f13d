#include "formats/gguf_quants.h"

#include <cstring>

#include "formats/safetensors.h"
#include "tests/formats/support.h"

namespace hone::formats {
namespace {

// The golden values are those of the Python package gguf, which follows ggml's reference.
class Dequantize : public ::testing::TestWithParam<GgmlType> {};

TEST_P(Dequantize, EqualsTheReferenceBitForBit) {
  const GgmlTypeInfo& info = ggml_type_info(GetParam());
  const SafetensorsFile golden = SafetensorsFile::open(kGoldenFolder + "/gguf_quants.safetensors");
  const TensorEntry* blocks = golden.find(std::string(info.name) + ".blocks");
  const TensorEntry* expected = golden.find(std::string(info.name) + ".values");
  ASSERT_NE(blocks, nullptr);
  std::vector<float> values(static_cast<size_t>(expected->shape[0]));
  ASSERT_GE(values.size(), 64u);
  dequantize(info.type, golden.bytes(*blocks), values);
  EXPECT_EQ(std::memcmp(values.data(), golden.bytes(*expected).data(), 4 * values.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(AllTypes, Dequantize,
                         ::testing::Values(GgmlType::kF32, GgmlType::kF16, GgmlType::kBF16,
                                           GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0,
                                           GgmlType::kQ5_1, GgmlType::kQ8_0, GgmlType::kQ2_K,
                                           GgmlType::kQ3_K, GgmlType::kQ4_K, GgmlType::kQ5_K,
                                           GgmlType::kQ6_K),
                         [](const auto& test) {
                           return std::string(ggml_type_info(test.param).name);
                         });

TEST(GgmlTypes, NumbersThatAreNotReadAreUnknown) {
  EXPECT_EQ(find_ggml_type(4), nullptr);   // removed from ggml
  EXPECT_EQ(find_ggml_type(16), nullptr);  // IQ2_XXS
  EXPECT_EQ(find_ggml_type(1000), nullptr);
  EXPECT_NE(known_ggml_types().find("Q6_K"), std::string::npos);
}

TEST(Dequantize, SizesThatDoNotFitAreRefused) {
  std::vector<float> values(33);
  expect_failure([&] { dequantize(GgmlType::kQ8_0, {}, values); }, core::ErrorKind::kInternal,
                 {"Q8_0"});
  values.resize(32);
  expect_failure([&] { dequantize(GgmlType::kQ8_0, {}, values); }, core::ErrorKind::kInternal,
                 {"0 bytes for 32 elements"});
}

}  // namespace
}  // namespace hone::formats
