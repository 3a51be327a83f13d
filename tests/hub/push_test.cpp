#include "hub/push.h"

#include <signal.h>

#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

constexpr RepoKind kKind = RepoKind::kModel;
const std::string kId = "me/model";
// Put together here so that this file itself holds no token.
const std::string kToken = "hf_" + std::string("AbCdEfGhIjKlMnOpQrStUvWxYz01234567");

class PushTest : public ::testing::Test {
 protected:
  PushTest() { write_model(model); }
  PushResult push(const PushOptions& options = {}) {
    return push_folder(store, kId, model, options);
  }
  core::Error failure(const PushOptions& options = {}) {
    return error_of([&] { push(options); });
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const FileEntry& entry : store.ls(kKind, kId, "main")) names.push_back(entry.path);
    return names;
  }

  TemporaryFolder folder;
  fs::path model = folder / "runs" / "demo";
  LocalStore store{folder / "hub"};
  using Names = std::vector<std::string>;
};

TEST_F(PushTest, OneCommitAndTagWithTheListOfFiles) {
  const PushResult result = push({.message = "Fine-tune", .tag = "v1"});
  EXPECT_TRUE(result.changed);
  ASSERT_EQ(result.files.size(), 4U);
  EXPECT_EQ(result.files[2].path, "model.safetensors");
  EXPECT_EQ(result.files[2].size, 3000U);
  const fs::path repo = store.repo_path(kKind, kId);
  EXPECT_EQ(git(repo, "rev-list --count main").text, "1\n");
  EXPECT_EQ(git(repo, "log -1 --format=%s v1").text, "Fine-tune\n");
  EXPECT_EQ(git(repo, "fsck --strict").code, 0);
  EXPECT_EQ(store.resolve(kKind, kId, "v1"), result.commit);
  EXPECT_TRUE(store.list_repos(kKind)[0].is_private);
}

TEST_F(PushTest, PublishesOnlyTheAllowList) {
  write_text(model / "run.json", "{}");
  write_text(model / "report.html", "<html></html>");
  write_text(model / "samples.jsonl", "{}\n");
  write_text(model / "LICENSE.txt", "x");
  write_text(model / "loss.svg", "<svg/>");
  write_text(model / "chat_template.jinja", "x");
  write_text(model / "additional_chat_templates" / "tool_use.jinja", "x");
  write_text(model / "additional_chat_templates" / "notes.txt", "x");
  write_text(model / "optimizer.pt", "x");
  write_text(model / "notes.txt", "x");
  write_text(model / ".env", "SECRET=1");
  write_text(model / "checkpoint-10" / "model.safetensors", "x");
  write_text(model / "state" / "moments.safetensors", "x");
  const PushResult result = push();
  EXPECT_EQ(names(), (Names{".gitattributes", "LICENSE.txt", "README.md",
                            "additional_chat_templates/tool_use.jinja", "chat_template.jinja",
                            "config.json", "loss.svg", "model.safetensors", "report.html",
                            "run.json", "samples.jsonl", "tokenizer.json"}));
  EXPECT_EQ(result.skipped, (Names{".env", "additional_chat_templates/notes.txt", "checkpoint-10",
                                   "notes.txt", "optimizer.pt", "state"}));
}

TEST_F(PushTest, AnUnchangedFolderIsNoCommitButMayStillBeTagged) {
  const PushResult first = push();
  const PushResult again = push({.tag = "v1"});
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.commit, first.commit);
  EXPECT_EQ(store.resolve(kKind, kId, "v1"), first.commit);
  EXPECT_EQ(store.history(kKind, kId, "main").size(), 1U);
}

TEST_F(PushTest, OldShardsAreRemovedAndDocumentsKept) {
  push();
  write_text(folder / "x", "notes");
  store.commit({.repo_id = kId,
                .operations = {Operation::add_text("notes/a.txt", "kept")},
                .message = "notes"});
  fs::remove(model / "model.safetensors");
  fs::remove(model / "README.md");
  write_text(model / "model-00001-of-00001.safetensors", "shard");
  write_text(model / "model.safetensors.index.json",
             R"({"weight_map": {"w": "model-00001-of-00001.safetensors"}})");
  EXPECT_EQ(push().removed, Names{"model.safetensors"});
  EXPECT_EQ(names(),
            (Names{".gitattributes", "README.md", "config.json", "model-00001-of-00001.safetensors",
                   "model.safetensors.index.json", "notes/a.txt", "tokenizer.json"}));
}

TEST_F(PushTest, ATokenInATextFileIsRefusedByLineAndNotRepeated) {
  write_text(model / "run.json", "{\n\"token\": \"" + kToken + "\"}");
  const core::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kNoPermission);
  EXPECT_NE(std::string(error.what()).find("run.json:2"), std::string::npos) << error.what();
  EXPECT_EQ(std::string(error.what()).find(kToken), std::string::npos);
  EXPECT_FALSE(store.has_repo(kKind, kId));
}

TEST_F(PushTest, TokenSearchTakesOnlyWholeTokens) {
  EXPECT_EQ(find_token_line("a\nb " + kToken), 2U);
  EXPECT_EQ(find_token_line("hf_hub hf_token hf_" + std::string(19, 'a')), 0U);
  EXPECT_EQ(find_token_line("hf_hf_" + std::string(20, 'a')), 1U);
}

TEST_F(PushTest, BrokenFoldersAreRefusedBeforeARepositoryIsMade) {
  EXPECT_EQ(error_of([&] { push_folder(store, kId, folder / "absent", {}); }).kind(),
            ErrorKind::kMissingInput);
  fs::create_directories(folder / "empty");
  EXPECT_EQ(error_of([&] { push_folder(store, kId, folder / "empty", {}); }).kind(),
            ErrorKind::kMissingInput);
  EXPECT_EQ(error_of([&] { push_folder(store, "../x", model, {}); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(failure({.tag = "a b"}).kind(), ErrorKind::kUsage);
  write_text(model / "model.safetensors", pointer_text({std::string(64, 'a'), 5}));
  EXPECT_EQ(failure().kind(), ErrorKind::kBadInput);
  write_model(model);
  write_text(model / "model.safetensors.index.json",
             R"({"weight_map": {"w": "absent.safetensors"}})");
  EXPECT_NE(std::string(failure().what()).find("absent.safetensors"), std::string::npos);
  fs::remove(model / "model.safetensors.index.json");
  fs::remove(model / "config.json");
  EXPECT_NE(std::string(failure().what()).find("adapter_config.json"), std::string::npos);
  EXPECT_FALSE(store.has_repo(kKind, kId));
}

TEST_F(PushTest, ATakenTagIsRefusedBeforeTheCommit) {
  const std::string first = push({.tag = "v1"}).commit;
  push({.tag = "v1"});
  write_text(model / "config.json", "{}");
  push();
  write_text(model / "config.json", "{ }");
  EXPECT_EQ(failure({.tag = "v1"}).kind(), ErrorKind::kCannotCreate);
  EXPECT_EQ(store.history(kKind, kId, "main").size(), 2U);
  EXPECT_EQ(store.resolve(kKind, kId, "v1"), first);
}

TEST_F(PushTest, LinkedFilesAreFollowedAsInACacheSnapshot) {
  fs::rename(model / "model.safetensors", folder / "blob");
  fs::create_symlink("../../blob", model / "model.safetensors");
  push();
  EXPECT_EQ(read_text(store.snapshot(kKind, kId, "main") / "model.safetensors"), weights_text('w'));
}

TEST_F(PushTest, AKilledPushOfANewVersionLeavesTheOldOneWhole) {
  const std::string first = push().commit;
  write_model(model, 'v');
  const int status = in_child([&] {
    push({.progress = [](const std::string&, uint64_t, uint64_t) { ::raise(SIGKILL); }});
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(store.resolve(kKind, kId, "main"), first);
  EXPECT_EQ(read_text(store.snapshot(kKind, kId, "main") / "model.safetensors"), weights_text('w'));
  EXPECT_TRUE(push().changed);
}

TEST_F(PushTest, ADatasetMayNameItsFiles) {
  write_text(folder / "data" / "train.jsonl", "{}\n");
  const PushResult result = push_folder(store, "me/data", folder / "data",
                                        {.kind = RepoKind::kDataset, .also_allow = {"*.jsonl"}});
  EXPECT_EQ(result.files.size(), 1U);
  EXPECT_EQ(store.ls(RepoKind::kDataset, "me/data", "main").size(), 2U);
}

}  // namespace
}  // namespace hone::hub
