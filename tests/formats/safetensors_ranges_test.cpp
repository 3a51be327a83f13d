#include "formats/safetensors_ranges.h"

#include <thread>

#include "core/files.h"
#include "tests/formats/ranges.h"
#include "tests/formats/support.h"
#include "tests/support/process.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::TempFolder;

const std::string kProgram = std::string(test::kBinaryDir) + "/bin/formats_range_program";

SafetensorsPlan plan() { return plan_safetensors(range_tensors()); }

// The file as one writer alone makes it.
std::string whole_file(const TempFolder& folder) {
  SafetensorsWriter writer(folder / "whole", plan());
  for (const TensorEntry& tensor : plan().tensors) writer.write(tensor.name, range_bytes(tensor));
  writer.commit();
  return core::read_file(folder / "whole");
}

TEST(RangeWriter, ThreadsWithAWriterEachGiveTheFileOfOneWriter) {
  for (const uint64_t num_parts : {1, 2, 3, 7}) {
    const TempFolder folder;
    const auto path = folder / "m.safetensors";
    create_planned_file(path, plan());
    std::atomic<uint64_t> bytes_written{0};
    {
      std::vector<std::jthread> threads;
      for (uint64_t part = 0; part < num_parts; ++part) {
        threads.emplace_back([&, part] {
          RangeWriter writer(path, plan());
          write_ranges(writer, plan(), part, num_parts);
          writer.sync();
          bytes_written += writer.bytes_written();
        });
      }
    }
    EXPECT_TRUE(core::read_file(path) == whole_file(folder)) << num_parts << " parts";
    EXPECT_EQ(bytes_written, plan().file_bytes - plan().header.size());
  }
}

TEST(RangeWriter, ThreadsMayShareAWriter) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  create_planned_file(path, plan());
  RangeWriter first(path, plan());
  RangeWriter writer(std::move(first));
  {
    std::vector<std::jthread> threads;
    for (uint64_t part = 0; part < 4; ++part) {
      threads.emplace_back([&, part] { write_ranges(writer, plan(), part, 4); });
    }
  }
  EXPECT_TRUE(core::read_file(path) == whole_file(folder));
  EXPECT_EQ(writer.bytes_written(), plan().file_bytes - plan().header.size());
}

TEST(RangeWriter, ProcessesGiveAFileThatOpensWithTheBytesOfEachTensor) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  ASSERT_EQ(test::run_process({kProgram, path, "create"}).code, 0);
  {
    std::vector<std::jthread> processes;
    for (const char* part : {"0", "1", "2"}) {
      processes.emplace_back([&, part] {
        const auto result = test::run_process({kProgram, path, "write", part, "3"});
        EXPECT_EQ(result.code, 0) << result.out;
      });
    }
  }
  EXPECT_TRUE(core::read_file(path) == whole_file(folder));
  const SafetensorsFile file = SafetensorsFile::open(path);
  ASSERT_EQ(file.tensors().size(), range_tensors().size());
  for (const TensorEntry& tensor : file.tensors()) {
    EXPECT_TRUE(std::ranges::equal(file.bytes(tensor), range_bytes(tensor))) << tensor.name;
  }
}

TEST(RangeWriter, WhatNobodyWroteIsZeroAndNotCounted) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  create_planned_file(path, plan());
  RangeWriter writer(path, plan());
  writer.write("odd", 65'536, std::as_bytes(std::span("x", 1)));
  writer.write("empty", 0, {});
  writer.write("scalar", 8, {});
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto odd = file.bytes(*file.find("odd"));
  EXPECT_EQ(odd.back(), std::byte{'x'});
  EXPECT_EQ(std::ranges::count(odd, std::byte{0}), 65'536);
  EXPECT_EQ(writer.bytes_written(), 1u);
}

TEST(RangeWriter, FileWithoutTensorsIsWholeAtOnce) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  const SafetensorsPlan nothing = plan_safetensors({});
  create_planned_file(path, nothing);
  RangeWriter(path, nothing).sync();
  EXPECT_TRUE(SafetensorsFile::open(path).tensors().empty());
}

TEST(RangeWriter, UnknownNameAndBytesPastTheEndAreRefusedAndWriteNothing) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  create_planned_file(path, plan());
  RangeWriter writer(path, plan());
  const std::vector<std::byte> bytes(12, std::byte{1});
  const auto expect_refused = [&](const std::string& name, uint64_t offset,
                                  const std::vector<std::string>& parts) {
    expect_failure([&] { writer.write(name, offset, bytes); }, ErrorKind::kInternal, parts);
  };
  expect_refused("v", 0, {"not in the file's plan", "m.safetensors: v"});
  expect_refused("scalar", 0, {"outside its tensor", "m.safetensors: scalar", "12 bytes at 0"});
  expect_refused("odd", 65'526, {"12 bytes at 65526", "inside 65537"});
  expect_refused("odd", 65'538, {"12 bytes at 65538"});
  expect_refused("odd", UINT64_MAX - 3, {"outside its tensor"});
  const std::string data = core::read_file(path).substr(plan().header.size());
  EXPECT_EQ(std::ranges::count(data, '\0'), static_cast<int64_t>(data.size()));
}

TEST(RangeWriter, MissingFileIsMissingInputAndNotMade) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  expect_failure([&] { RangeWriter(path, plan()); }, ErrorKind::kMissingInput, {path});
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(RangeWriter, FileOfAnotherPlanIsRefused) {
  const TempFolder folder;
  const auto path = folder / "m.safetensors";
  create_planned_file(path, plan());
  auto tensors = range_tensors();
  tensors[0].name = "x";
  expect_failure([&] { RangeWriter(path, plan_safetensors(tensors)); }, ErrorKind::kBadInput,
                 {path, "other tensors"});
  std::filesystem::resize_file(path, plan().file_bytes - 1);
  expect_failure([&] { RangeWriter(path, plan()); }, ErrorKind::kBadInput,
                 {path, "wrong size", std::to_string(plan().file_bytes - 1) + " bytes",
                  std::to_string(plan().file_bytes)});
}

TEST(RangeWriter, PlannedFileDoesNotReplaceAnother) {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", "old");
  expect_failure([&] { create_planned_file(path, plan()); }, ErrorKind::kCannotCreate, {path});
  EXPECT_EQ(core::read_file(path), "old");
}

// The disk fails the calls that HONE_FAULT names (tests/faults/shim.c).
class RangeWriterFaults : public ::testing::Test {
 protected:
  void expect_exit(int code, const std::vector<std::string>& command, const std::string& fault,
                   const std::vector<std::string>& parts) {
    std::vector<std::string> words{kProgram, path_};
    words.insert(words.end(), command.begin(), command.end());
    const auto result = test::run_process(
        words, {{"LD_PRELOAD", test::kFaultShim},
                {"HONE_FAULT", fault + ":m.safetensors"},
                {"ASAN_OPTIONS", "verify_asan_link_order=0"}});  // the shim comes first
    EXPECT_EQ(result.code, code) << result.out << result.err;
    for (const std::string& part : parts) {
      EXPECT_NE(result.out.find(part), std::string::npos) << "no " << part << ": " << result.out;
    }
  }

  TempFolder folder_;
  std::string path_ = folder_ / "m.safetensors";
};

TEST_F(RangeWriterFaults, DiskThatFillsUpWhileWritingIsAnIoErrorThatNamesTheFile) {
  create_planned_file(path_, plan());
  expect_exit(74, {"write", "0", "1"}, "write:9:ENOSPC", {path_, "No space left"});
}

TEST_F(RangeWriterFaults, DiskThatRefusesOnSyncIsAnIoErrorThatNamesTheFile) {
  create_planned_file(path_, plan());
  expect_exit(74, {"write", "0", "1"}, "fsync:0:ENOSPC", {path_, "can't sync", "No space left"});
  expect_exit(74, {"write", "0", "1"}, "fsync:0:EIO", {path_, "can't sync"});
}

TEST_F(RangeWriterFaults, FileThatCanNotBeMadeIsNotLeftBehind) {
  for (const char* fault : {"write:0:ENOSPC", "fsync:0:EIO"}) {
    expect_exit(74, {"create"}, fault, {path_});
    EXPECT_FALSE(std::filesystem::exists(path_)) << fault;
  }
  expect_exit(73, {"create"}, "open:0:EROFS", {path_});
  expect_exit(0, {"create"}, "write:9:ENOSPC", {});
}

}  // namespace
}  // namespace hone::formats
