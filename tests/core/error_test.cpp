#include "core/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace hone::core {
namespace {

TEST(Error, MessageHoldsEveryFieldInReadingOrder) {
  const ErrorDetail detail{.what = "r",
                           .where = "a.yaml:3",
                           .got = "0",
                           .expected = "at least 1",
                           .hint = "leave it out"};
  EXPECT_EQ(format_detail(detail), "a.yaml:3: r: got 0, expected at least 1 (leave it out)");
}

TEST(Error, EmptyFieldsLeaveNoPunctuation) {
  EXPECT_EQ(format_detail({.what = "no rows"}), "no rows");
  EXPECT_EQ(format_detail({.what = "dtype", .expected = "float32"}), "dtype: expected float32");
}

TEST(Error, ExitCodeIsTheKind) {
  try {
    fail(ErrorKind::kBadRecipe, {.what = "unknown key"});
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), 78);
    EXPECT_STREQ(e.what(), "unknown key");
    return;
  }
  FAIL() << "fail() returned";
}

TEST(Error, TextOfAFileCannotControlATerminalOrFillIt) {
  const Error error(
      ErrorKind::kBadInput,
      {.what = "one\ntwo \x1b[2J", .where = "a\rb\xff", .got = std::string(1 << 20, 'x')});
  const std::string message = error.what();
  EXPECT_TRUE(message.starts_with("a\\rb\\xff: one\ntwo \\x1b[2J: got xxx"))
      << message.substr(0, 80);
  EXPECT_LT(message.size(), 5000U);
  EXPECT_EQ(error.detail().where, "a\\rb\\xff");
  std::string many_lines;
  for (int i = 0; i < 100'000; ++i) many_lines += "line\n";
  EXPECT_LT(std::string(Error(ErrorKind::kBadInput, {.what = many_lines}).what()).size(), 20'000U);
}

ErrorKind kind_of_errno(int number) {
  try {
    fail_errno("can't write", "/x/y", number);
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/x/y: can't write: "), std::string::npos) << e.what();
    return e.kind();
  }
}

TEST(Error, ErrnoDecidesTheExitCode) {
  EXPECT_EQ(kind_of_errno(ENOENT), ErrorKind::kMissingInput);
  EXPECT_EQ(kind_of_errno(EROFS), ErrorKind::kCannotCreate);
  EXPECT_EQ(kind_of_errno(EACCES), ErrorKind::kCannotCreate);
  EXPECT_EQ(kind_of_errno(ENOSPC), ErrorKind::kIo);
  EXPECT_EQ(kind_of_errno(EIO), ErrorKind::kIo);
}

}  // namespace
}  // namespace hone::core
