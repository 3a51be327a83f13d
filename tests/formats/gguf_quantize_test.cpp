#include "formats/gguf_quantize.h"

#include <cstring>

#include "formats/safetensors.h"
#include "tests/formats/support.h"

namespace hone::formats {
namespace {

// The golden blocks are those of ggml itself (tests/golden/formats/make_gguf_quantize.py): zeros,
// outliers, ties, constants, tiny and large values beside random ones.
class Quantize : public ::testing::TestWithParam<GgmlType> {};

TEST_P(Quantize, GivesTheBlocksOfGgmlByteForByte) {
  const GgmlTypeInfo& info = ggml_type_info(GetParam());
  const SafetensorsFile golden =
      SafetensorsFile::open(kGoldenFolder + "/gguf_quantize.safetensors");
  const TensorEntry* values = golden.find("values");
  const TensorEntry* expected = golden.find(info.name);
  ASSERT_NE(expected, nullptr);
  std::vector<float> from(values->num_bytes() / 4);
  std::memcpy(from.data(), golden.bytes(*values).data(), values->num_bytes());
  std::vector<std::byte> blocks(expected->num_bytes());
  quantize(info.type, from, blocks);
  const auto wanted = golden.bytes(*expected);
  size_t num_wrong = 0;
  for (size_t i = 0; i < blocks.size(); i += info.block_bytes) {
    num_wrong += std::memcmp(blocks.data() + i, wanted.data() + i, info.block_bytes) != 0;
  }
  EXPECT_EQ(num_wrong, 0u) << "of " << blocks.size() / info.block_bytes << " blocks";
}

INSTANTIATE_TEST_SUITE_P(AllTypes, Quantize,
                         ::testing::Values(GgmlType::kF16, GgmlType::kBF16, GgmlType::kQ8_0,
                                           GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ4_K,
                                           GgmlType::kQ6_K),
                         [](const auto& test) {
                           return std::string(ggml_type_info(test.param).name);
                         });

TEST(Quantize, TypesThatCanNotBeMadeAndWrongSizesAreRefused) {
  std::vector<float> values(256);
  std::vector<std::byte> bytes(84);
  EXPECT_FALSE(can_quantize(GgmlType::kQ2_K));
  expect_failure([&] { quantize(GgmlType::kQ2_K, values, bytes); }, core::ErrorKind::kInternal,
                 {"Q2_K"});
  expect_failure([&] { quantize(GgmlType::kQ8_0, values, bytes); }, core::ErrorKind::kInternal,
                 {"256 elements for 84 bytes"});
}

}  // namespace
}  // namespace hone::formats
