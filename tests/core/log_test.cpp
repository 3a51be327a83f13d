#include "core/log.h"

#include <gtest/gtest.h>

namespace hone::core {
namespace {

TEST(Log, TokensAreHiddenWhereverTheyStand) {
  const std::string token = "hf_" + std::string(34, 'x');
  EXPECT_EQ(redact("token " + token + " used"), "token hf_<redacted> used");
  EXPECT_EQ(redact("{\"token\":\"" + token + "\"}"), "{\"token\":\"hf_<redacted>\"}");
  EXPECT_EQ(redact("call hf_hub_download or hf_transfer"), "call hf_hub_download or hf_transfer");
}

TEST(Log, AuthorizationValuesAreHidden) {
  EXPECT_EQ(redact("Authorization: Bearer abc.def-1"), "Authorization: Bearer <redacted>");
  EXPECT_EQ(redact("authorization: Basic dXNlcg=="), "authorization: Basic <redacted>");
  EXPECT_EQ(redact("no authorization given"), "no authorization given");
  EXPECT_EQ(redact("authorization."), "authorization.");
}

TEST(Log, UrlSecretsAreHiddenAndTheRestKept) {
  EXPECT_EQ(redact("GET https://me:pass@hub.example/a/b?x=1"),
            "GET https://<redacted>@hub.example/a/b?x=1");
  EXPECT_EQ(redact("https://cdn.example/f?X-Amz-Signature=abc&size=5&Key-Pair-Id=K1 done"),
            "https://cdn.example/f?X-Amz-Signature=<redacted>&size=5&Key-Pair-Id=<redacted> done");
  EXPECT_EQ(redact("https://hub.example/a@main/b"), "https://hub.example/a@main/b");
}

TEST(Log, PlainTextIsUntouched) {
  for (const char* text : {"", "step 10 loss 1.25", "3 e-mails: a@b.c", "ü → ok"}) {
    EXPECT_EQ(redact(text), text);
  }
}

TEST(Log, OtherRanksPrintWarningsWithTheirNumber) {
  set_up_log(3, false);
  testing::internal::CaptureStderr();
  spdlog::info("quiet");
  spdlog::warn("Authorization: Bearer abc");
  spdlog::default_logger()->flush();
  const std::string text = testing::internal::GetCapturedStderr();
  set_up_log(0, false);
  EXPECT_EQ(text.find("quiet"), std::string::npos);
  EXPECT_NE(text.find("[rank 3] Authorization: Bearer <redacted>\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace hone::core
