#include "launch/last_words.h"

#include <gtest/gtest.h>

#include <thread>

namespace hone::launch {
namespace {

std::optional<int> code_in(std::string_view bytes) {
  LastWords words;
  words.read(bytes);
  return words.exit_code();
}

TEST(LastWords, AreThoseOfARankWithAndWithoutATag) {
  EXPECT_EQ(code_in("step 3\nFATAL 76 rank=0 host=a\nmore\n"), 76);
  EXPECT_EQ(code_in("[1,0]<stderr>:FATAL 74 rank=0 host=a\n"), 74);
  EXPECT_EQ(code_in("FATAL 78 rank=0 host=a\nFATAL 76 rank=1 host=b\n"), 76);
}

TEST(LastWords, OtherLinesAreNot) {
  for (const char* line : {"a FATAL 76 rank=0\n", "FATAL rank=0\n", "FATAL 76 wolves\n",
                           "[12:00:00] [info] FATAL 76 rank=0\n", "FATAL 76 rank=0", "\n", ""})
    EXPECT_EQ(code_in(line), std::nullopt) << line;
}

TEST(LastWords, MayComeInPiecesAndHaveAnAge) {
  LastWords words;
  for (const char c : std::string(1000, 'x') + "\nFATAL 76 rank=12 host") words.read({&c, 1});
  EXPECT_EQ(words.exit_code(), std::nullopt);
  EXPECT_EQ(words.age().count(), 0);
  words.read("=a " + std::string(1000, 'x') + "\n");
  EXPECT_EQ(words.exit_code(), 76);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(words.age().count(), 20);
}

}  // namespace
}  // namespace hone::launch
