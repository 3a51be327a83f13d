// `hone push` and `hone validate` against a hub over HTTP, as a user runs them.
#include <gtest/gtest.h>

#include "tests/hub/scripted_server.h"
#include "tests/recipes/support.h"
#include "tests/support/paths.h"

namespace hone::recipes {
namespace {

const std::string kHone = std::string(test::kBinaryDir) + "/bin/hone";
const std::string kToken = "hf_" + std::string(34, 'T');

class PushProgram : public RecipeTest {
 protected:
  PushProgram() { test::write_text(folder_ / "model/config.json", "{}"); }

  test::ProcessResult hone(std::vector<std::string> arguments, const std::string& token) const {
    arguments.insert(arguments.begin(), kHone);
    return test::run_process(arguments,
                             {{"HONE_HUB", (folder_ / "hub").string()},
                              {"HF_HOME", (folder_ / "hf").string()},
                              {"HF_TOKEN", token},
                              {"HF_TOKEN_PATH", ""},
                              {"HF_HUB_OFFLINE", ""},
                              {"TRANSFORMERS_OFFLINE", ""},
                              {"HF_ENDPOINT", server_.url()}},
                             folder_.path());
  }
  test::ProcessResult push(const std::string& token = kToken) const {
    return hone({"push", "model", "ada/tiny"}, token);
  }

  hub::ScriptedServer server_;
};

TEST_F(PushProgram, RefusalsEndWithTheCodesOfTheDocumentationAndWithoutTheToken) {
  const std::vector<std::pair<hub::Reply, int>> cases = {
      {hub::Reply::error(401, "", "Invalid credentials: " + kToken), 77},
      {hub::Reply::error(404, "RepoNotFound", "no"), 66},
      {hub::Reply::error(400, "", "bad card"), 65},
      {hub::Reply::redirect("http://169.254.169.254/latest", 307), 69},
  };
  for (const auto& [reply, code] : cases) {
    server_.on("POST", "/api/repos/create", {reply});
    const auto result = push();
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find("\nFATAL " + std::to_string(code)), std::string::npos) << result.err;
    EXPECT_EQ((result.out + result.err).find(kToken), std::string::npos) << result.err;
  }
}

TEST_F(PushProgram, AnEndpointOfTheEnvironmentIsPushedToAndAMissingTokenIsSaid) {
  const auto result = push("");
  EXPECT_EQ(result.code, 77) << result.err;
  EXPECT_NE(result.err.find("HF_TOKEN"), std::string::npos) << result.err;
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(PushProgram, AnExportedFileBesideTheModelIsPushed) {
  test::write_text(folder_ / "model/tiny.gguf", "GGUF");
  test::write_text(folder_ / "model/notes.txt", "x");
  const auto result =
      hone({"push", "model", "ada/tiny", "--endpoint", (folder_ / "store").string()}, kToken);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("tiny.gguf"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("notes.txt"), std::string::npos) << result.out;
}

TEST_F(PushProgram, ValidateTellsOfAMissingTokenWithoutAskingTheHub) {
  test::write_text(folder_ / "r.yaml", kSound + "push_to_hub: true\nhub_model_id: ada/tiny\n");
  const auto without = hone({"validate", "r.yaml"}, "");
  EXPECT_EQ(without.code, 78) << without.err;
  EXPECT_NE(without.err.find("r.yaml:5: push_to_hub: a push to " + server_.url() +
                             " needs an access token"),
            std::string::npos)
      << without.err;
  EXPECT_EQ(hone({"validate", "r.yaml"}, kToken).code, 0);
  const auto local = hone(
      {"validate", "r.yaml", "--set", "hub_endpoint=/tmp/hub", "--set", "hub_create_pr=true"}, "");
  EXPECT_EQ(local.code, 78);
  EXPECT_NE(local.err.find("hub_create_pr: needs a hub over HTTP"), std::string::npos) << local.err;
  const auto each = hone(
      {"validate", "r.yaml", "--set", "hub_create_pr=true", "--set", "hub_strategy=every_save"},
      kToken);
  EXPECT_EQ(each.code, 78);
  EXPECT_NE(each.err.find("every_save can't go with hub_create_pr"), std::string::npos) << each.err;
  EXPECT_TRUE(server_.requests().empty());
}

}  // namespace
}  // namespace hone::recipes
