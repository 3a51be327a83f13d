#include <sys/stat.h>

#include "core/hash.h"
#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;

constexpr RepoKind kKind = RepoKind::kModel;
const std::string kId = "me/model";

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest() {
    write_model(folder / "model");
    commit = push_folder(store, kId, folder / "model", {}).commit;
  }
  fs::path snapshot() { return store.snapshot(kKind, kId, "main"); }
  fs::path object() {
    const std::string sha = core::sha256_hex(weights_text('w'));
    return store.root() / "lfs" / sha.substr(0, 2) / sha.substr(2, 2) / sha;
  }
  static ino_t inode(const fs::path& path) {
    struct stat status {};
    ::stat(path.c_str(), &status);
    return status.st_ino;
  }

  TemporaryFolder folder;
  LocalStore store{folder / "hub"};
  std::string commit;
};

TEST_F(SnapshotTest, HoldsTheFilesAndSharesLargeOnes) {
  const fs::path place = snapshot();
  EXPECT_EQ(place, store.root() / "snapshots" / "models--me--model" / commit);
  EXPECT_EQ(read_text(place / "config.json"), read_text(folder / "model" / "config.json"));
  EXPECT_EQ(read_text(place / "model.safetensors"), weights_text('w'));
  EXPECT_EQ(inode(place / "model.safetensors"), inode(object()));
  EXPECT_TRUE(fs::is_empty(store.root() / "tmp"));
}

TEST_F(SnapshotTest, IsReusedWhenComplete) {
  const fs::path place = snapshot();
  const ino_t before = inode(place / "config.json");
  EXPECT_EQ(snapshot(), place);
  EXPECT_EQ(inode(place / "config.json"), before);
}

TEST_F(SnapshotTest, IsMendedWhenAFileIsMissingOrChanged) {
  const fs::path place = snapshot();
  fs::remove(place / "model.safetensors");
  fs::remove(place / "tokenizer.json");
  write_text(place / "config.json", "{\"model_type\": \"LLAMA\"}\n");
  snapshot();
  EXPECT_EQ(read_text(place / "model.safetensors"), weights_text('w'));
  EXPECT_EQ(read_text(place / "tokenizer.json"), "{}\n");
  EXPECT_EQ(read_text(place / "config.json"), "{\"model_type\": \"llama\"}\n");
}

TEST_F(SnapshotTest, ADamagedObjectIsNamedAndTheSamePushMendsIt) {
  const fs::path place = snapshot();
  fs::permissions(object(), fs::perms::owner_all);
  fs::resize_file(object(), 100);
  const core::Error error = error_of([&] { snapshot(); });
  EXPECT_EQ(error.kind(), core::ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos);
  EXPECT_FALSE(push_folder(store, kId, folder / "model", {}).changed);
  snapshot();
  EXPECT_EQ(read_text(place / "model.safetensors"), weights_text('w'));
}

TEST_F(SnapshotTest, OlderRevisionsStayReadable) {
  write_model(folder / "model", 'v');
  push_folder(store, kId, folder / "model", {});
  EXPECT_EQ(read_text(store.snapshot(kKind, kId, commit) / "model.safetensors"), weights_text('w'));
  EXPECT_EQ(read_text(snapshot() / "model.safetensors"), weights_text('v'));
}

TEST_F(SnapshotTest, TwoProcessesAtOnceGetTheSameFolder) {
  const auto work = [&] { LocalStore(folder / "hub").snapshot(kKind, kId, "main"); };
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  work();
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text(snapshot() / "model.safetensors"), weights_text('w'));
}

TEST_F(SnapshotTest, ATreeWithAnUnsafeNameWrittenByAnotherProgramIsRefused) {
  const fs::path repo = store.repo_path(kKind, kId);
  const Output blob = git(repo, "rev-parse main:config.json");
  const std::string id = blob.text.substr(0, 40);
  const std::string script = "mktree <<'END'\n100644 blob " + id + "\ta\\b\nEND\n";
  const std::string made = git(repo, script).text.substr(0, 40);
  const std::string bad =
      git(repo, "-c user.name=x -c user.email=x@y commit-tree -m x " + made).text.substr(0, 40);
  ASSERT_EQ(git(repo, "update-ref refs/heads/bad " + bad).code, 0);
  EXPECT_EQ(error_of([&] { store.snapshot(kKind, kId, "bad"); }).kind(),
            core::ErrorKind::kBadInput);
}

}  // namespace
}  // namespace hone::hub
