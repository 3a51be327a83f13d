#include "core/temporary_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/core/temp_folder.h"

namespace hone::core {
namespace {
namespace fs = std::filesystem;

TEST(TemporaryFolderTest, IsNewAndGoneWithItsContentUnlessKept) {
  const TempFolder parent;
  fs::path first, second, kept;
  {
    const TemporaryFolder a(parent.path() / "made", "work-"), b(parent.path() / "made", "work-");
    TemporaryFolder c(parent.path(), "kept-");
    first = a.path(), second = b.path(), kept = c.path();
    EXPECT_NE(first, second);
    EXPECT_EQ(first.parent_path(), parent.path() / "made");
    EXPECT_TRUE(first.filename().string().starts_with("work-"));
    fs::create_directories(first / "in");
    std::ofstream(first / "in" / "file") << "x";
    c.keep();
  }
  EXPECT_FALSE(fs::exists(first));
  EXPECT_FALSE(fs::exists(second));
  EXPECT_TRUE(fs::exists(kept));
}

TEST(TemporaryFolderTest, SaysWhichParentRefusesIt) {
  const TempFolder parent;
  const fs::path file = parent.write("file", "x");
  try {
    const TemporaryFolder folder(file, "x-");
    FAIL() << "a folder inside a file";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos);
  }
}

}  // namespace
}  // namespace hone::core
