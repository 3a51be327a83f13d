#include "core/files.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/core/temp_folder.h"

namespace hone::core {
namespace {

template <typename Action>
ErrorKind kind_of(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kInternal;
}

size_t num_entries(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Files, AtomicWriteReplacesAndLeavesNothingElse) {
  const TempFolder folder;
  write_file_atomic(folder.path() / "a", "old");
  write_file_atomic(folder.path() / "a", std::string("n\0w", 3));
  EXPECT_EQ(read_file(folder.path() / "a"), std::string("n\0w", 3));
  EXPECT_EQ(num_entries(folder.path()), 1u);
}

TEST(Files, FailedWriteKeepsTheOldFileAndRemovesTheTemporary) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.path() / "taken");
  folder.write("taken/x", "");
  EXPECT_EQ(kind_of([&] { write_file_atomic(folder.path() / "taken", "text"); }), ErrorKind::kIo);
  EXPECT_EQ(num_entries(folder.path()), 1u);
}

TEST(Files, ReadingWhatIsNotThereIsMissingInput) {
  const TempFolder folder;
  EXPECT_EQ(kind_of([&] { read_file(folder.path() / "none"); }), ErrorKind::kMissingInput);
  EXPECT_EQ(kind_of([&] { MappedFile map(folder.path() / "none"); }), ErrorKind::kMissingInput);
  EXPECT_EQ(kind_of([&] { read_file(folder.path()); }), ErrorKind::kBadInput);
}

TEST(Files, ReadStopsAtTheLimit) {
  const TempFolder folder;
  const auto path = folder.write("big", std::string(1000, 'x'));
  EXPECT_EQ(read_file(path, 1000).size(), 1000u);
  EXPECT_EQ(kind_of([&] { read_file(path, 999); }), ErrorKind::kBadInput);
}

TEST(Files, MapShowsTheWholeFileAndMoves) {
  const TempFolder folder;
  MappedFile map(folder.write("a", "hello"));
  MappedFile moved(std::move(map));
  EXPECT_EQ(moved.text(), "hello");
  EXPECT_TRUE(MappedFile(folder.write("empty", "")).bytes().empty());
}

TEST(Files, PendingFileAppearsOnlyAfterCommit) {
  const TempFolder folder;
  const auto path = folder.path() / "out";
  {
    PendingFile file(path, 8);
    file.write_at(4, as_bytes("5678"));
    file.write_at(0, as_bytes("1234"));
    EXPECT_FALSE(std::filesystem::exists(path));
    file.commit();
  }
  EXPECT_EQ(read_file(path), "12345678");
  { PendingFile dropped(folder.path() / "dropped", 8); }
  EXPECT_EQ(num_entries(folder.path()), 1u);
}

TEST(Files, CopyRenameAndRemove) {
  const TempFolder folder;
  make_folders(folder.path() / "a/b/c");
  const auto source = folder.write("a/b/c/x", "text");
  copy_file_durable(source, folder.path() / "y");
  rename_durable(folder.path() / "y", folder.path() / "z");
  EXPECT_EQ(read_file(folder.path() / "z"), "text");
  remove_tree(folder.path() / "a");
  EXPECT_FALSE(std::filesystem::exists(source));
  EXPECT_EQ(kind_of([&] { make_folders(folder.path() / "z" / "below-a-file"); }),
            ErrorKind::kMissingInput);
}

TEST(Files, NamesThatLeaveTheirFolderAreUnsafe) {
  for (const char* name :
       {"", "/etc/passwd", "../x", "a/../../b", "a//b", "a/", "..\\x", "a/./b", "."}) {
    EXPECT_FALSE(is_safe_relative_path(name)) << name;
  }
  EXPECT_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_relative_path(std::string(256, 'x')));
  for (const char* name : {"a", "a/b.txt", "..a", ".gitattributes", "a..b/c"}) {
    EXPECT_TRUE(is_safe_relative_path(name)) << name;
  }
}

TEST(Files, ReadAtFillsFromAnyOffsetAndNeverReadsPastTheEnd) {
  const TempFolder folder;
  folder.write("a", "0123456789");
  const ReadFile file(folder.path() / "a");
  std::string text(4, ' ');
  file.read_at(6, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, "6789");
  EXPECT_EQ(kind_of([&] { file.read_at(7, std::as_writable_bytes(std::span(text))); }),
            ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { ReadFile(folder.path() / "none"); }), ErrorKind::kMissingInput);
}

}  // namespace
}  // namespace hone::core
