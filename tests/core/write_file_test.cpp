#include "core/write_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "core/error.h"
#include "core/files.h"
#include "tests/core/temp_folder.h"

namespace hone::core {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The kind of the error, which must name `path`.
template <typename Action>
ErrorKind kind_of(const std::string& path, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.detail().where, path) << error.what();
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kUsage;
}

TEST(WriteFile, KeepsWhatOthersWroteAround) {
  const TempFolder folder;
  const auto path = folder.write("f", "abcdefgh");
  WriteFile one(path), two(path);
  two.write_at(6, as_bytes("YZ"));
  one.write_at(1, as_bytes("123"));
  one.write_at(8, {});
  WriteFile moved(std::move(one));
  moved.sync();
  EXPECT_EQ(moved.size(), 8u);
  EXPECT_EQ(read_file(path), "a123efYZ");
}

TEST(WriteFile, MakesNoFileOfItsOwn) {
  const TempFolder folder;
  const auto path = folder / "none";
  EXPECT_EQ(kind_of(path, [&] { WriteFile file(path); }), ErrorKind::kMissingInput);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(WriteFile, FullDiskIsAnErrorThatNamesTheFile) {
  WriteFile full("/dev/full");
  EXPECT_EQ(kind_of("/dev/full", [&] { full.write_at(0, as_bytes("x")); }), ErrorKind::kIo);
}

TEST(SparseFile, HasItsSizeAndZerosAndNoBlocks) {
  const TempFolder folder;
  const auto path = folder / "f";
  create_sparse_file(path, 1 << 20);
  EXPECT_EQ(read_file(path), std::string(1 << 20, '\0'));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 1 << 20);
}

TEST(SparseFile, RefusesToReplaceAFile) {
  const TempFolder folder;
  const auto path = folder.write("f", "old");
  EXPECT_EQ(kind_of(path, [&] { create_sparse_file(path, 8); }), ErrorKind::kCannotCreate);
  EXPECT_EQ(read_file(path), "old");
}

TEST(SparseFile, ThatCanNotBeSoLargeLeavesNothingBehind) {
  const TempFolder folder;
  const auto path = folder / "f";
  EXPECT_EQ(kind_of(path, [&] { create_sparse_file(path, uint64_t{1} << 63); }), ErrorKind::kIo);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace hone::core
