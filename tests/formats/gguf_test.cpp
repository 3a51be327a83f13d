#include "formats/gguf.h"

#include "core/files.h"
#include "tests/formats/gguf_builder.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::TempFolder;

void expect_refused(const std::string& bytes, const std::vector<std::string>& parts) {
  const TempFolder folder;
  const auto path = folder.write("m.gguf", bytes);
  auto all = parts;
  all.push_back(path.string());
  expect_failure([&] { GgufFile::open(path); }, ErrorKind::kBadInput, all);
}

TEST(Gguf, ReadsEveryValueType) {
  GgufBuilder b;
  b.key("u8", 0, raw<uint8_t>(200))
      .key("i8", 1, raw<int8_t>(-2))
      .key("u16", 2, raw<uint16_t>(60000));
  b.key("i16", 3, raw<int16_t>(-300))
      .key("u32", 4, raw<uint32_t>(4000000000u))
      .key("i32", 5, raw<int32_t>(-7));
  b.key("f32", 6, raw(1.5f)).key("bool", 7, raw<uint8_t>(1)).text("string", "héllo");
  b.texts("strings", {"a", "", "c"}).key("u64", 10, raw<uint64_t>(1ull << 63));
  b.key("i64", 11, raw<int64_t>(-(1ll << 40))).key("f64", 12, raw(0.1));
  b.key("ints", 9, raw<uint32_t>(5) + raw<uint64_t>(2) + raw<int32_t>(3) + raw<int32_t>(-4));
  b.key("nested", 9,
        raw<uint32_t>(9) + raw<uint64_t>(1) + raw<uint32_t>(0) + raw<uint64_t>(2) + "ab");
  const TempFolder folder;
  const GgufFile file = GgufFile::open(folder.write("m.gguf", b.build()));
  EXPECT_EQ(file.get_uint("u8"), 200u);
  EXPECT_EQ(file.get_uint("u16"), 60000u);
  EXPECT_EQ(file.get_uint("u32"), 4000000000u);
  EXPECT_EQ(file.get_uint("u64"), 1ull << 63);
  EXPECT_EQ(std::get<int64_t>(file.metadata().at("i8").value), -2);
  EXPECT_EQ(std::get<int64_t>(file.metadata().at("i16").value), -300);
  EXPECT_EQ(std::get<int64_t>(file.metadata().at("i32").value), -7);
  EXPECT_EQ(std::get<int64_t>(file.metadata().at("i64").value), -(1ll << 40));
  EXPECT_EQ(file.get_float("f32"), 1.5);
  EXPECT_EQ(file.get_float("f64"), 0.1);
  EXPECT_EQ(file.get_bool("bool"), true);
  EXPECT_EQ(file.get_string("string"), "héllo");
  EXPECT_EQ(file.get_strings("strings"), (std::vector<std::string>{"a", "", "c"}));
  EXPECT_EQ(file.get_ints("ints"), (std::vector<int64_t>{3, -4}));
  const auto& nested = std::get<std::vector<GgufValue>>(file.metadata().at("nested").value);
  EXPECT_EQ(std::get<std::vector<GgufValue>>(nested[0].value).size(), 2u);
  EXPECT_FALSE(file.get_string("absent"));
}

TEST(Gguf, TensorShapesAreReversedAndDataIsFound) {
  const TempFolder folder;
  const GgufFile file = GgufFile::open(
      folder.write("m.gguf", GgufBuilder{}.ones("a", {3, 2}).ones("b", {5}).build()));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.find_tensor("a")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.bytes(*file.find_tensor("b")).size(), 20u);
  EXPECT_EQ(file.find_tensor("c"), nullptr);
}

TEST(Gguf, OtherAlignmentsAreHonoured) {
  GgufBuilder b;
  b.number("general.alignment", 128).tensor("a", {2}, 0, 0);
  b.data = raw(4.0f) + raw(5.0f);
  const TempFolder folder;
  const GgufFile file = GgufFile::open(folder.write("m.gguf", b.build(128)));
  float value = 0;
  std::memcpy(&value, file.bytes(file.tensors()[0]).data(), 4);
  EXPECT_EQ(value, 4.0f);
}

TEST(Gguf, WrongTypesOfKeysAreNamed) {
  const TempFolder folder;
  const GgufFile file = GgufFile::open(
      folder.write("m.gguf", GgufBuilder{}.text("t", "x").key("n", 5, raw<int32_t>(-1)).build()));
  const auto refused = [&](auto get, const std::string& key) {
    expect_failure(get, ErrorKind::kBadInput, {"\"" + key + "\"", "wrong type"});
  };
  refused([&] { file.get_uint("t"); }, "t");
  refused([&] { file.get_uint("n"); }, "n");
  refused([&] { file.get_float("t"); }, "t");
  refused([&] { file.get_bool("t"); }, "t");
  refused([&] { file.get_string("n"); }, "n");
  refused([&] { file.get_strings("n"); }, "n");
  refused([&] { file.get_ints("t"); }, "t");
  expect_failure([&] { file.require_uint("absent"); }, ErrorKind::kBadInput,
                 {"\"absent\" is missing"});
}

TEST(GgufRules, MissingFile) {
  expect_failure([] { GgufFile::open("/nowhere/m.gguf"); }, ErrorKind::kMissingInput,
                 {"/nowhere/m.gguf"});
}

TEST(GgufRules, OtherFiles) {
  expect_refused("", {"ends too early", "byte 0"});
  expect_refused("PK\x03\x04 zip file", {"not a GGUF file"});
}

TEST(GgufRules, Versions) {
  GgufBuilder b;
  b.version = 1;
  expect_refused(b.build(), {"unknown GGUF version", "got 1"});
  b.version = 3u << 24;
  expect_refused(b.build(), {"big-endian"});
  b.version = 2;
  const TempFolder folder;
  EXPECT_TRUE(GgufFile::open(folder.write("m.gguf", b.build())).tensors().empty());
}

TEST(GgufRules, EveryTruncationIsRefused) {
  const std::string whole =
      GgufBuilder{}.text("k", "value").texts("l", {"a", "b"}).ones("w", {4, 2}).build();
  const TempFolder folder;
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto path = folder.write("m.gguf", whole.substr(0, size));
    EXPECT_EQ(failure_of([&] { GgufFile::open(path); }).kind, ErrorKind::kBadInput) << size;
  }
}

TEST(GgufRules, HugeCounts) {
  const uint64_t huge = ~uint64_t{0};
  expect_refused("GGUF" + raw<uint32_t>(3) + raw(huge) + raw<uint64_t>(0),
                 {"number of tensors", "too large"});
  expect_refused("GGUF" + raw<uint32_t>(3) + raw<uint64_t>(0) + raw(huge),
                 {"number of metadata keys"});
  expect_refused(GgufBuilder{}.key("a", 9, raw<uint32_t>(4) + raw(huge)).build(),
                 {"metadata \"a\"", "number of array elements", "too large"});
  expect_refused(GgufBuilder{}.key("a", 9, raw<uint32_t>(4) + raw<uint64_t>(1 << 24)).build(),
                 {"metadata \"a\"", "ends too early"});
  expect_refused(GgufBuilder{}.key("s", 8, raw(huge)).build(),
                 {"metadata \"s\"", "string is too long"});
  expect_refused(GgufBuilder{}.key("s", 8, raw<uint64_t>(1 << 20)).build(), {"ends too early"});
}

TEST(GgufRules, UnknownValueTypes) {
  expect_refused(GgufBuilder{}.key("k", 13, "").build(),
                 {"metadata \"k\"", "unknown value type", "13"});
  expect_refused(GgufBuilder{}.key("k", 9, raw<uint32_t>(77) + raw<uint64_t>(0)).build(),
                 {"unknown value type", "77"});
}

TEST(GgufRules, StringsAreUtf8) {
  expect_refused(GgufBuilder{}.text("k", "a\xFF").build(), {"metadata \"k\"", "not valid UTF-8"});
  expect_refused(GgufBuilder{}.tensor("w\x80", {1}, 0, 0).build(), {"not valid UTF-8"});
}

TEST(GgufRules, DeepArrays) {
  std::string value;
  for (int i = 0; i < 6; ++i) value += raw<uint32_t>(9) + raw<uint64_t>(1);
  expect_refused(GgufBuilder{}.key("k", 9, value).build(), {"nested too deep"});
}

TEST(GgufRules, BooleansAreZeroOrOne) {
  expect_refused(GgufBuilder{}.key("k", 7, "\x02").build(), {"boolean", "got 2"});
}

TEST(GgufRules, DuplicateKeysAndTensors) {
  expect_refused(GgufBuilder{}.number("k", 1).number("k", 2).build(), {"duplicate key", "\"k\""});
  expect_refused(GgufBuilder{}.ones("w", {1}).ones("w", {1}).build(),
                 {"duplicate tensor", "\"w\""});
}

TEST(GgufRules, Alignment) {
  expect_refused(GgufBuilder{}.number("general.alignment", 24).build(),
                 {"general.alignment", "power of two"});
  expect_refused(GgufBuilder{}.number("general.alignment", 0).build(), {"general.alignment"});
  expect_refused(GgufBuilder{}.tensor("w", {1}, 0, 4).build(),
                 {"tensor \"w\"", "not aligned", "got 4"});
}

TEST(GgufRules, UnknownTensorType) {
  expect_refused(GgufBuilder{}.tensor("w", {256}, 16, 0).build(),
                 {"tensor \"w\"", "tensor type 16 is not supported", "Q8_0"});
}

TEST(GgufRules, ShapesThatOverflow) {
  const uint64_t big = uint64_t{1} << 32;
  expect_refused(GgufBuilder{}.tensor("w", {big, big}, 0, 0).build(),
                 {"tensor \"w\"", "overflows 64 bits"});
  expect_refused(GgufBuilder{}.tensor("w", {uint64_t{1} << 62}, 0, 0).build(),
                 {"overflows 64 bits"});
  expect_refused(GgufBuilder{}.tensor("w", {~uint64_t{0}}, 0, 0).build(),
                 {"dimension is too large"});
  expect_refused(GgufBuilder{}.tensor("w", {1, 1, 1, 1, 1}, 0, 0).build(),
                 {"too many dimensions", "5"});
  expect_refused(GgufBuilder{}.tensor("w", {8}, 0, ~uint64_t{31}).build(), {"offset overflows"});
}

TEST(GgufRules, RowsHoldWholeBlocks) {
  expect_refused(GgufBuilder{}.tensor("w", {48}, 8, 0).build(),
                 {"whole blocks of Q8_0", "48", "32"});
}

TEST(GgufRules, DataPastTheEnd) {
  GgufBuilder b;
  b.tensor("w", {8}, 0, 0);
  b.data = std::string(28, 'x');
  expect_refused(b.build(), {"tensor \"w\"", "past the end", "28 bytes of data"});
}

}  // namespace
}  // namespace hone::formats
