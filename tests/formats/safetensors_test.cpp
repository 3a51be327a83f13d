#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/files.h"
#include "tests/formats/support.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::TempFolder;

constexpr char kHeader[] =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";

void expect_refused(const std::string& bytes, const std::vector<std::string>& parts) {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", bytes);
  auto all = parts;
  all.push_back(path.string());
  expect_failure([&] { SafetensorsFile::open(path); }, ErrorKind::kBadInput, all);
}

void expect_header_refused(const std::string& header, const std::string& data,
                           const std::vector<std::string>& parts) {
  expect_refused(safetensors_text(header, data), parts);
}

std::string one(const std::string& fields) { return "{\"w\":{" + fields + "}}"; }

TEST(Safetensors, ReadsTensorsOfAHandMadeFile) {
  const TempFolder folder;
  const auto path = folder.write(
      "m.safetensors", safetensors_text(kHeader, raw(1.5f) + raw(-2.0f) + std::string("\x07", 1)));
  const SafetensorsFile file = SafetensorsFile::open(path);
  ASSERT_EQ(file.tensors().size(), 2u);
  const TensorEntry* a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, Dtype::kF32);
  EXPECT_EQ(a->shape, std::vector<int64_t>{2});
  float second = 0;
  std::memcpy(&second, file.bytes(*a).data() + 4, 4);
  EXPECT_EQ(second, -2.0f);
  EXPECT_EQ(file.bytes(*file.find("b"))[0], std::byte{7});
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Safetensors, OrderInTheHeaderNeedNotBeOrderInTheFile) {
  const TempFolder folder;
  const auto path = folder.write(
      "m.safetensors", safetensors_text(R"({"z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
                                        R"("y":{"shape":[1],"data_offsets":[0,1],"dtype":"U8"}}  )",
                                        "yz"));
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.tensors()[0].name, "y");
  EXPECT_EQ(file.bytes(*file.find("z"))[0], std::byte{'z'});
}

TEST(Safetensors, EmptyTensorsAndAnEmptyFileAreAllowed) {
  const TempFolder folder;
  const auto path = folder.write(
      "m.safetensors",
      safetensors_text(R"({"e":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]}})", ""));
  EXPECT_EQ(SafetensorsFile::open(path).tensors()[0].num_bytes(), 0u);
  EXPECT_TRUE(SafetensorsFile::open(folder.write("n.safetensors", safetensors_text("{}", "")))
                  .tensors()
                  .empty());
}

TEST(Safetensors, MissingFileIsMissingInput) {
  expect_failure([] { SafetensorsFile::open("/nowhere/m.safetensors"); }, ErrorKind::kMissingInput,
                 {"/nowhere/m.safetensors"});
}

TEST(SafetensorsRules, FileShorterThanTheLength) {
  expect_refused("1234", {"too short", "4 bytes"});
}

TEST(SafetensorsRules, HeaderLengthOverTheLimit) {
  expect_refused(raw<uint64_t>(100'000'001) + "{}", {"too large", "100000001", "100000000"});
}

TEST(SafetensorsRules, HeaderLengthThatWouldOverflow) {
  expect_refused(raw<uint64_t>(~uint64_t{0}) + "{}", {"too large", "18446744073709551615"});
}

TEST(SafetensorsRules, HeaderPastTheEndOfTheFile) {
  expect_refused(raw<uint64_t>(50) + "{}", {"past the end", "header of 50 bytes", "file of 10"});
}

TEST(SafetensorsRules, HeaderThatDoesNotStartWithABrace) {
  expect_header_refused(" {}", "", {"does not start with '{'", "byte 8"});
  expect_header_refused("", "", {"does not start with '{'"});
}

TEST(SafetensorsRules, HeaderThatIsNotJson) {
  expect_header_refused(R"({"a":)", "", {"not valid JSON", "at byte"});
  expect_header_refused(R"({} x)", "", {"not valid JSON", "at byte 11"});
}

TEST(SafetensorsRules, HeaderThatIsNotUtf8) {
  expect_header_refused("{\"a\xFF\":1}", "", {"not valid UTF-8", "byte 11"});
}

TEST(SafetensorsRules, DuplicateTensor) {
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                        "x", {"duplicate tensor", "\"a\""});
}

TEST(SafetensorsRules, DuplicateKeyOfATensor) {
  expect_header_refused(one(R"("dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1])"), "x",
                        {"duplicate key \"dtype\"", "tensor \"w\""});
}

TEST(SafetensorsRules, DuplicateKeyOfTheMetadata) {
  expect_header_refused(R"({"__metadata__":{"k":"1","k":"2"}})", "",
                        {"duplicate key \"k\"", "__metadata__"});
}

TEST(SafetensorsRules, MetadataThatIsNotTextToText) {
  expect_header_refused(R"({"__metadata__":{"k":1}})", "", {"__metadata__", "\"k\"", "got 1"});
  expect_header_refused(R"({"__metadata__":{"k":{"x":"y"}}})", "", {"__metadata__", "an object"});
  expect_header_refused(R"({"__metadata__":["k"]})", "", {"__metadata__", "not a JSON object"});
}

TEST(SafetensorsRules, TensorThatIsNotAnObject) {
  expect_header_refused(R"({"w":3})", "", {"tensor \"w\"", "not a JSON object", "got 3"});
}

TEST(SafetensorsRules, MissingFields) {
  expect_header_refused(one(R"("shape":[1],"data_offsets":[0,1])"), "x", {"\"w\"", "no \"dtype\""});
  expect_header_refused(one(R"("dtype":"U8","data_offsets":[0,1])"), "x", {"no \"shape\""});
  expect_header_refused(one(R"("dtype":"U8","shape":[1])"), "x", {"no \"data_offsets\""});
}

TEST(SafetensorsRules, UnknownField) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1)"), "x",
                        {"unknown key \"x\""});
}

TEST(SafetensorsRules, UnknownDtype) {
  expect_header_refused(one(R"("dtype":"F33","shape":[1],"data_offsets":[0,1])"), "x",
                        {"tensor \"w\"", "unknown dtype", "\"F33\"", "BF16"});
  expect_header_refused(one(R"("dtype":7,"shape":[1],"data_offsets":[0,1])"), "x",
                        {"dtype is not a string"});
}

TEST(SafetensorsRules, NegativeDimension) {
  expect_header_refused(one(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), "x",
                        {"shape is wrong", "got -1", "non-negative"});
}

TEST(SafetensorsRules, FractionalDimension) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])"), "x",
                        {"shape is wrong", "got 1.0"});
}

TEST(SafetensorsRules, DimensionBeyond63Bits) {
  expect_header_refused(one(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1])"),
                        "x", {"dimension is too large", "9223372036854775808"});
}

TEST(SafetensorsRules, SizeThatOverflows) {
  expect_header_refused(
      one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "",
      {"overflows 64 bits", "F32 [4294967296, 4294967296]"});
  expect_header_refused(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"),
                        "", {"overflows 64 bits"});
}

TEST(SafetensorsRules, OffsetsThatAreNotAPair) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), "x",
                        {"too few numbers", "\"w\""});
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), "x",
                        {"too many numbers"});
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[-1,1])"), "x",
                        {"data_offsets is wrong", "-1"});
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":"0")"), "x",
                        {"data_offsets is wrong"});
}

TEST(SafetensorsRules, OffsetsThatRunBackwards) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])"), "x",
                        {"run backwards", "[1, 0]"});
}

TEST(SafetensorsRules, OffsetsPastTheEnd) {
  expect_header_refused(one(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])"), "x",
                        {"past the end", "[0, 4]", "1 bytes of data"});
}

TEST(SafetensorsRules, OffsetsThatDoNotFitTheShape) {
  expect_header_refused(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), "xxxx",
                        {"do not fit the shape", "[0, 4]", "8 bytes for F32 [2]"});
}

TEST(SafetensorsRules, SubByteElementsThatSplitAByte) {
  expect_header_refused(one(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])"), "xx",
                        {"do not fill whole bytes", "12 bits"});
}

TEST(SafetensorsRules, HoleBetweenTensors) {
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                        "xyz", {"hole", "\"b\"", "begin 2", "begin 1"});
}

TEST(SafetensorsRules, HoleAtTheStart) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])"), "xy",
                        {"hole", "begin 1", "begin 0"});
}

TEST(SafetensorsRules, OverlappingTensors) {
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                        R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                        "xyz", {"overlaps", "\"b\"", "begin 1", "begin 2"});
}

TEST(SafetensorsRules, TrailingBytes) {
  expect_header_refused(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])"), "xyz",
                        {"belong to no tensor", "3 bytes", "1 (the end"});
}

std::vector<TensorSpec> reference_specs(const SafetensorsFile& file) {
  std::vector<TensorSpec> specs;
  for (const TensorEntry& t : file.tensors()) specs.push_back({t.name, t.dtype, t.shape});
  std::reverse(specs.begin(), specs.end());
  return specs;
}

TEST(SafetensorsWriter, GivesTheBytesOfTheReferenceWriter) {
  const std::string reference_path = kGoldenFolder + "/safetensors_reference.safetensors";
  const SafetensorsFile reference = SafetensorsFile::open(reference_path);
  EXPECT_EQ(reference.metadata(), (Metadata{{"format", "pt"}}));
  EXPECT_EQ(reference.tensors().size(), 11u);
  const TempFolder folder;
  SafetensorsWriter writer(folder.path() / "m.safetensors",
                           plan_safetensors(reference_specs(reference)));
  for (const TensorEntry& t : reference.tensors()) writer.write(t.name, reference.bytes(t));
  writer.commit();
  EXPECT_EQ(core::read_file(folder.path() / "m.safetensors"), core::read_file(reference_path));
}

TEST(SafetensorsWriter, PartsMayComeFromSeveralThreadsInAnyOrder) {
  const TempFolder folder;
  const auto path = folder.path() / "m.safetensors";
  std::vector<uint32_t> values(4096);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint32_t>(i * 2654435761u);
  const auto bytes = std::as_bytes(std::span(values));
  SafetensorsWriter writer(path, plan_safetensors({{"w", Dtype::kU32, {64, 64}}}));
  std::vector<std::thread> threads;
  for (size_t i = 4; i-- > 0;) {
    threads.emplace_back(
        [&, i] { writer.write_part("w", i * 4096, bytes.subspan(i * 4096, 4096)); });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.commit();
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(std::memcmp(file.bytes(file.tensors()[0]).data(), values.data(), 16384), 0);
}

TEST(SafetensorsWriter, NothingAppearsWithoutCommit) {
  const TempFolder folder;
  { SafetensorsWriter writer(folder.path() / "m.safetensors", plan_safetensors({})); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, AnUnfinishedFileIsNotCommitted) {
  const TempFolder folder;
  SafetensorsWriter writer(folder.path() / "m.safetensors",
                           plan_safetensors({{"w", Dtype::kU8, {4}}}));
  writer.write_part("w", 0, std::as_bytes(std::span("ab", 2)));
  expect_failure([&] { writer.commit(); }, ErrorKind::kInternal, {"not complete", "2 bytes", "4"});
}

TEST(SafetensorsWriter, WrongUseIsRefused) {
  const TempFolder folder;
  SafetensorsWriter writer(folder.path() / "m.safetensors",
                           plan_safetensors({{"w", Dtype::kU8, {4}}}));
  const auto bytes = std::as_bytes(std::span("abcde", 5));
  expect_failure([&] { writer.write("w", bytes); }, ErrorKind::kInternal,
                 {"wrong size", "5 bytes"});
  expect_failure([&] { writer.write("v", bytes); }, ErrorKind::kInternal,
                 {"not in the file's plan"});
  expect_failure([&] { writer.write_part("w", 2, bytes); }, ErrorKind::kInternal, {"outside"});
  expect_failure(
      [] {
        plan_safetensors({{"w", Dtype::kU8, {1}}, {"w", Dtype::kU8, {2}}});
      },
      ErrorKind::kInternal, {"written twice", "w"});
  expect_failure(
      [] {
        plan_safetensors({{"w", Dtype::kF4, {1}}});
      },
      ErrorKind::kInternal, {"can't be stored", "F4 [1]"});
}

TEST(SafetensorsWriter, HeaderIsPaddedToEightBytes) {
  for (const std::string name : {"a", "ab", "abc", "abcd"}) {
    EXPECT_EQ(plan_safetensors({{name, Dtype::kU8, {1}}}).header.size() % 8, 0u);
  }
}

}  // namespace
}  // namespace hone::formats
