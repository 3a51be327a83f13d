#include "hub/push_plan.h"

#include "tests/hub/support.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using core::Json;

const std::string kEndpoint = "https://hub.example";

std::vector<UploadAction> read(const Json& object) {
  return read_batch({{"objects", {object}}}, "here", kEndpoint, {{"abc", 10}});
}

TEST(PushPlan, Base64OfEveryRemainder) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("\xff\xfe\x00"), "//4=");
}

TEST(PushPlan, AnObjectWithoutActionsIsThereAlready) {
  EXPECT_TRUE(read({{"oid", "abc"}, {"size", 10}}).empty());
  EXPECT_TRUE(read({{"oid", "abc"}, {"size", 10}, {"actions", nullptr}}).empty());
}

TEST(PushPlan, AddressesOnThePublicHubAreAskedForAtTheEndpoint) {
  const auto actions =
      read({{"oid", "abc"},
            {"actions",
             {{"upload",
               {{"href", "https://huggingface.co/done"},
                {"header", {{"chunk_size", 6U}, {"2", "https://huggingface.co/2"}, {"1", "/1"}}}}},
              {"verify", {{"href", "https://huggingface.co/verify"}}}}}});
  ASSERT_EQ(actions.size(), 1U);
  EXPECT_EQ(actions[0].href, kEndpoint + "/done");
  EXPECT_EQ(actions[0].verify_href, kEndpoint + "/verify");
  EXPECT_EQ(actions[0].chunk_size, 6U);
  EXPECT_EQ(actions[0].part_urls, (std::vector<std::string>{"/1", kEndpoint + "/2"}));
}

TEST(PushPlan, PartsAreInTheOrderOfTheirNumbersNotOfTheirText) {
  Json header = {{"chunk_size", "1"}};
  for (int i = 10; i >= 1; --i) header[std::to_string(i)] = "part" + std::to_string(i);
  const auto actions =
      read({{"oid", "abc"}, {"actions", {{"upload", {{"href", "x"}, {"header", header}}}}}});
  EXPECT_EQ(actions.at(0).part_urls.at(1), "part2");
  EXPECT_EQ(actions.at(0).part_urls.at(9), "part10");
}

TEST(PushPlan, AnObjectTheHubRefusesIsNamedWithItsWords) {
  const core::Error error = error_of([] {
    read({{"oid", "abc"}, {"size", 10}, {"error", {{"code", 422}, {"message", "over quota"}}}});
  });
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("over quota"), std::string::npos);
}

TEST(PushPlan, EmptyFilesAreNeverLargeAndOldAnswersAreForgotten) {
  std::vector<LocalFile> files = {{.path = "a", .size = 0, .remote_oid = "old"}};
  read_preupload({{"files", {{{"path", "a"}, {"uploadMode", "lfs"}}}}}, "here", files);
  EXPECT_FALSE(files[0].is_large);
  EXPECT_FALSE(files[0].remote_oid);
}

TEST(PushPlan, CommitLinesAreAsciiWhateverTheMessage) {
  const std::string body = commit_body("caf\u00e9 \"q\"\n\u2603", "", {}, {"a.safetensors"});
  EXPECT_EQ(body,
            "{\"key\": \"header\", \"value\": {\"summary\": \"caf\\u00e9 \\\"q\\\"\\n\\u2603\", "
            "\"description\": \"\"}}\n"
            "{\"key\": \"deletedFile\", \"value\": {\"path\": \"a.safetensors\"}}\n");
}

}  // namespace
}  // namespace hone::hub
