#include "hub/large_file.h"

#include "tests/hub/support.h"

namespace hone::hub {
namespace {

const std::string kSha(64, 'a');

TEST(LargeFile, PointerTextIsExactlyTheSpecifications) {
  EXPECT_EQ(pointer_text({kSha, 12345}),
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + kSha + "\nsize 12345\n");
}

TEST(LargeFile, ParsesOnlyWholePointers) {
  const auto pointer = parse_pointer(pointer_text({kSha, 18446744073709551615U}));
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->sha256, kSha);
  EXPECT_EQ(pointer->size, 18446744073709551615U);
  const std::string good = pointer_text({kSha, 7});
  EXPECT_FALSE(parse_pointer(good + "x"));
  EXPECT_FALSE(parse_pointer(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(parse_pointer(pointer_text({std::string(64, 'A'), 7})));
  EXPECT_FALSE(parse_pointer(pointer_text({"../../../../etc/passwd", 7})));
  EXPECT_FALSE(parse_pointer("version https://git-lfs.github.com/spec/v1\noid sha256:" + kSha +
                             "\nsize -1\n"));
  EXPECT_FALSE(parse_pointer(""));
}

TEST(LargeFile, TypeSizeAndNamedPathsAreLarge) {
  const std::string attributes = default_attributes();
  EXPECT_TRUE(is_large("model.safetensors", 10, attributes));
  EXPECT_TRUE(is_large("sub/x.gguf", 10, attributes));
  EXPECT_FALSE(is_large("model.safetensors", 0, attributes));
  EXPECT_FALSE(is_large("model.safetensors.index.json", 10, attributes));
  EXPECT_FALSE(is_large("config.json", kLargeFileBytes, attributes));
  EXPECT_TRUE(is_large("config.json", kLargeFileBytes + 1, attributes));
  EXPECT_FALSE(is_large(".gitattributes", kLargeFileBytes + 1, attributes));
}

TEST(LargeFile, AnAddedLineKeepsAFileLargeWhenItShrinks) {
  const std::string attributes = with_attribute(default_attributes(), "a b/to[1].json");
  EXPECT_TRUE(
      attributes.ends_with("/a[[:space:]]b/to\\[1].json filter=lfs diff=lfs merge=lfs -text\n"));
  EXPECT_TRUE(is_large("a b/to[1].json", 5, attributes));
  EXPECT_EQ(with_attribute(attributes, "a b/to[1].json"), attributes);
  EXPECT_EQ(with_attribute(attributes, "x.bin"), attributes);
}

}  // namespace
}  // namespace hone::hub
