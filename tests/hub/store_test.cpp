#include "hub/store.h"

#include <signal.h>
#include <sys/resource.h>

#include "core/hash.h"
#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

constexpr RepoKind kKind = RepoKind::kModel;
const std::string kId = "me/model";

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { store.create_repo(kKind, kId); }

  CommitRequest request(std::vector<Operation> operations,
                        const std::string& message = "a change") {
    return {.repo_id = kId, .operations = std::move(operations), .message = message};
  }
  std::string commit_text(const std::string& path, const std::string& text,
                          const std::string& message = "a change") {
    return store.commit(request({Operation::add_text(path, text)}, message)).commit;
  }
  std::string head() { return store.resolve(kKind, kId, "main"); }
  void expect_sound() {
    const Output fsck = git(repo, "fsck --strict --no-dangling");
    EXPECT_EQ(fsck.code, 0) << fsck.text;
  }

  TemporaryFolder folder;
  LocalStore store{folder / "hub"};
  fs::path repo = store.repo_path(kKind, kId);
};

TEST_F(StoreTest, GitAgreesWithWhatWasCommitted) {
  const std::string first = commit_text("config.json", "{}\n", "First title\n\nBody line.");
  write_text(folder / "w", "weights");
  const std::string second =
      store
          .commit({.repo_id = kId,
                   .operations = {Operation::add_file("sub/model.safetensors", folder / "w")},
                   .message = "Second",
                   .author = {"Ada Lovelace", "ada@example.org"}})
          .commit;
  expect_sound();
  EXPECT_EQ(git(repo, "log --format='%H|%an|%ae|%s' main").text,
            second + "|Ada Lovelace|ada@example.org|Second\n" + first +
                "|hone|hone@localhost|First title\n");
  EXPECT_EQ(git(repo, "log -1 --format=%B " + first).text, "First title\n\nBody line.\n\n");
  EXPECT_EQ(git(repo, "show main:config.json").text, "{}\n");
  EXPECT_EQ(git(repo, "symbolic-ref HEAD").text, "refs/heads/main\n");
  EXPECT_EQ(git(repo, "ls-tree -r --name-only main").text,
            ".gitattributes\nconfig.json\nsub/model.safetensors\n");
}

TEST_F(StoreTest, ALargeFileIsAPointerInGitAndContentBySha256) {
  write_text(folder / "w", "weights");
  store.commit(request({Operation::add_file("model.safetensors", folder / "w")}));
  const std::string sha = core::sha256_hex("weights");
  EXPECT_EQ(git(repo, "show main:model.safetensors").text,
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + sha + "\nsize 7\n");
  EXPECT_EQ(read_text(store.root() / "lfs" / sha.substr(0, 2) / sha.substr(2, 2) / sha), "weights");
  EXPECT_EQ(read_text(repo / "lfs" / "objects" / sha.substr(0, 2) / sha.substr(2, 2) / sha),
            "weights");
  EXPECT_EQ(git(repo, "show main:.gitattributes").text, default_attributes());
  const auto files = store.ls(kKind, kId, "main");
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[1].path, "model.safetensors");
  EXPECT_EQ(files[1].size, 7U);
  ASSERT_TRUE(files[1].large);
  EXPECT_EQ(files[1].large->sha256, sha);
}

TEST_F(StoreTest, ABigTextFileGetsItsOwnAttributesLineThatGitUnderstands) {
  commit_text("big file.json", std::string(kLargeFileBytes + 1, ' '));
  EXPECT_TRUE(store.ls(kKind, kId, "main")[1].large);
  const fs::path tree = folder / "tree";
  fs::create_directories(tree);
  write_text(tree / ".gitattributes", git(repo, "show main:.gitattributes").text);
  const Output answer =
      git(repo, "-c core.bare=false --work-tree='" + tree.string() + "' -C '" + tree.string() +
                    "' check-attr filter -- 'big file.json' small.json x.safetensors");
  EXPECT_EQ(
      answer.text,
      "big file.json: filter: lfs\nsmall.json: filter: unspecified\nx.safetensors: filter: lfs\n");
}

TEST_F(StoreTest, WorksWithoutHomeAndIgnoresTheUsersConfiguration) {
  const int status = in_child([&] {
    write_text(folder / "home" / ".gitconfig",
               "[user]\n\tname = Wrong\n[core]\n\tautocrlf = true\n[broken");
    ::setenv("HOME", (folder / "home").c_str(), 1);
    LocalStore(folder / "hub2").create_repo(kKind, kId);
    ::unsetenv("HOME");
    LocalStore other(folder / "hub2");
    other.commit(request({Operation::add_text("a.txt", "x\r\n")}));
  });
  ASSERT_EQ(status, 0);
  const fs::path other = LocalStore(folder / "hub2").repo_path(kKind, kId);
  EXPECT_EQ(git(other, "log --format='%an %cn' main").text, "hone hone\n");
  EXPECT_EQ(git(other, "show main:a.txt").text, "x\r\n");
}

TEST_F(StoreTest, TwoProcessesCommittingAtOnceBothLand) {
  constexpr int kCommits = 10;
  const auto work = [&](const std::string& name) {
    LocalStore mine(folder / "hub");
    for (int i = 0; i < kCommits; ++i) {
      mine.commit(request({Operation::add_text(name + std::to_string(i), name)}));
    }
  };
  EXPECT_EQ(in_children({[&] { work("a"); }, [&] { work("b"); }}), (std::vector<int>{0, 0}));
  EXPECT_EQ(store.ls(kKind, kId, "main").size(), 1U + 2 * kCommits);
  EXPECT_EQ(git(repo, "rev-list --count --first-parent main").text, "20\n");
  EXPECT_EQ(Database(store.root() / "hub.db").count_commits(kKind, kId), 2 * kCommits);
  expect_sound();
}

TEST_F(StoreTest, AStaleParentIsRefusedAndTheRightOneTaken) {
  const std::string first = commit_text("a", "1");
  const std::string second = commit_text("a", "2");
  auto stale = request({Operation::add_text("a", "3")});
  stale.expected_parent = first;
  const core::Error error = error_of([&] { store.commit(stale); });
  EXPECT_EQ(error.kind(), ErrorKind::kCannotCreate);
  EXPECT_NE(std::string(error.what()).find(second), std::string::npos) << error.what();
  stale.expected_parent = "";
  EXPECT_THROW(store.commit(stale), core::Error);
  EXPECT_EQ(head(), second);
  stale.expected_parent = second;
  EXPECT_TRUE(store.commit(stale).changed);
}

TEST_F(StoreTest, UnchangedContentIsNoCommit) {
  const std::string first = commit_text("a", "1");
  const CommitResult again = store.commit(request({Operation::add_text("a", "1")}));
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.commit, first);
  EXPECT_EQ(git(repo, "rev-list --count main").text, "1\n");
}

TEST_F(StoreTest, DeletesFilesAndFoldersAndRefusesWhatIsNotThere) {
  store.commit(request({Operation::add_text("a", "1"), Operation::add_text("d/x", "1"),
                        Operation::add_text("d/y", "1"), Operation::add_text("keep", "1")}));
  store.commit(request({Operation::remove("a"), Operation::remove("d")}));
  EXPECT_EQ(git(repo, "ls-tree -r --name-only main").text, ".gitattributes\nkeep\n");
  EXPECT_EQ(error_of([&] { store.commit(request({Operation::remove("a")})); }).kind(),
            ErrorKind::kMissingInput);
  expect_sound();
}

TEST_F(StoreTest, RefusesPathsThatWouldLeaveASnapshot) {
  for (const std::string path :
       {"../x", "/etc/x", "a/../b", "a\\b", ".git/config", "a/.git/hooks", "", "a//b"}) {
    EXPECT_EQ(error_of([&] { commit_text(path, "x"); }).kind(), ErrorKind::kUsage) << path;
  }
  EXPECT_FALSE(store.find_branch(kKind, kId, "main"));
}

TEST_F(StoreTest, AFullDiskInTheMiddleLeavesTheHeadAsItWas) {
  const std::string first = commit_text("a", "1");
  write_text(folder / "w", std::string(3 << 20, 'w'));
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    store.commit(request(
        {Operation::add_text("b", "2"), Operation::add_file("x.safetensors", folder / "w")}));
  });
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(ErrorKind::kIo));
  EXPECT_EQ(head(), first);
  EXPECT_TRUE(fs::is_empty(store.root() / "tmp"));
  expect_sound();
}

TEST_F(StoreTest, AKilledWriterLeavesTheHeadAndTheNextPushSucceeds) {
  const std::string first = commit_text("a", "1");
  write_text(folder / "w", std::string(1 << 20, 'w'));
  auto change =
      request({Operation::add_text("b", "2"), Operation::add_file("x.safetensors", folder / "w")});
  const int status = in_child([&] {
    change.progress = [](const std::string&, uint64_t, uint64_t) { ::raise(SIGKILL); };
    store.commit(change);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(head(), first);
  EXPECT_EQ(store.ls(kKind, kId, "main").size(), 2U);
  EXPECT_TRUE(store.commit(change).changed);
  EXPECT_EQ(read_text(store.snapshot(kKind, kId, "main") / "x.safetensors"),
            read_text(folder / "w"));
}

TEST_F(StoreTest, ALockedReferenceIsNamedAndNothingMoves) {
  const std::string first = commit_text("a", "1");
  write_text(repo / "refs/heads/main.lock", "");
  const core::Error error = error_of([&] { commit_text("a", "2"); });
  EXPECT_NE(std::string(error.what()).find("main.lock"), std::string::npos) << error.what();
  EXPECT_EQ(head(), first);
  fs::remove(repo / "refs/heads/main.lock");
  EXPECT_NE(commit_text("a", "2"), first);
}

TEST_F(StoreTest, ResolvesBranchTagFullAndShortIdAndPullRequestReference) {
  const std::string first = commit_text("a", "1");
  const std::string second = commit_text("a", "2");
  store.create_tag(kKind, kId, "v1", first, "the first");
  store.create_branch(kKind, kId, "dev", first);
  ASSERT_EQ(git(repo, "update-ref refs/pr/1 " + first).code, 0);
  for (const std::string& revision :
       {std::string("v1"), std::string("dev"), first, first.substr(0, 7), std::string("refs/pr/1"),
        std::string("refs/tags/v1")}) {
    EXPECT_EQ(store.resolve(kKind, kId, revision), first) << revision;
  }
  EXPECT_EQ(store.resolve(kKind, kId, ""), second);
  EXPECT_EQ(git(repo, "cat-file -t v1").text, "tag\n");
  EXPECT_EQ(git(repo, "tag -l --format='%(contents)' v1").text, "the first\n\n");
  for (const std::string revision : {"v2", "refs/pr/2", "0000000", "../../x", "v1..v2", "-x", ""}) {
    if (revision.empty()) continue;
    const core::Error error = error_of([&] { store.resolve(kKind, kId, revision); });
    EXPECT_EQ(error.kind(), ErrorKind::kMissingInput) << revision;
    EXPECT_NE(std::string(error.what()).find("dev, main"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(store.create_tag(kKind, kId, "v1", first, "again"));
  EXPECT_EQ(error_of([&] { store.create_tag(kKind, kId, "v1", second, ""); }).kind(),
            ErrorKind::kCannotCreate);
  EXPECT_EQ(store.history(kKind, kId, "main", 1).size(), 1U);
  EXPECT_EQ(store.history(kKind, kId, "main")[1].id, first);
}

TEST_F(StoreTest, ADamagedReferenceIsNamed) {
  commit_text("a", "1");
  write_text(repo / "refs/heads/main", "garbage\n");
  const core::Error error = error_of([&] { head(); });
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("refs/heads/main"), std::string::npos);
  EXPECT_THROW(commit_text("a", "2"), core::Error);
  EXPECT_EQ(read_text(repo / "refs/heads/main"), "garbage\n");
}

TEST_F(StoreTest, CreatingIsIdempotentAndPrivateByDefault) {
  commit_text("a", "1");
  const std::string before = head();
  store.create_repo(kKind, kId);
  store.create_repo(kKind, "me/open", /*is_private=*/false);
  store.create_repo(RepoKind::kDataset, kId);
  EXPECT_EQ(head(), before);
  const auto repos = store.list_repos(kKind);
  ASSERT_EQ(repos.size(), 2U);
  EXPECT_EQ(repos[0].id, kId);
  EXPECT_TRUE(repos[0].is_private);
  EXPECT_EQ(repos[0].head, before);
  EXPECT_FALSE(repos[1].is_private);
  EXPECT_EQ(repos[1].head, "");
  EXPECT_EQ(store.list_repos(RepoKind::kDataset).size(), 1U);
  EXPECT_EQ(error_of([&] { store.create_repo(kKind, "../x"); }).kind(), ErrorKind::kUsage);
}

TEST_F(StoreTest, ALostDatabaseCostsNoCommits) {
  const std::string first = commit_text("a", "1");
  for (const std::string name : {"hub.db", "hub.db-wal", "hub.db-shm"})
    fs::remove(store.root() / name);
  EXPECT_EQ(head(), first);
  EXPECT_EQ(store.list_repos(kKind).size(), 1U);
  EXPECT_NE(commit_text("a", "2"), first);
}

TEST_F(StoreTest, ADatabaseOfANewerProgramIsRefused) {
  {
    TemporaryFolder other;
    fs::create_directories(other / "hub");
    { Database database(other / "hub.db"); }
    ASSERT_EQ(std::system(("python3 -c \"import sqlite3; sqlite3.connect('" +
                           (other / "hub.db").string() + "').execute('pragma user_version = 99')\"")
                              .c_str()),
              0);
    EXPECT_EQ(error_of([&] { Database database(other / "hub.db"); }).kind(), ErrorKind::kBadInput);
  }
}

TEST_F(StoreTest, UsersAreListedOnce) {
  EXPECT_TRUE(store.add_user("me"));
  EXPECT_FALSE(store.add_user("me"));
  EXPECT_THROW(store.add_user("a/b"), core::Error);
  ASSERT_EQ(store.users().size(), 1U);
  EXPECT_EQ(store.users()[0].name, "me");
}

TEST(StoreRoot, EndpointsAndEnvironment) {
  EXPECT_EQ(LocalStore::at_endpoint("file:///a/b").root(), "/a/b");
  EXPECT_EQ(LocalStore::at_endpoint("/a").root(), "/a");
  EXPECT_EQ(error_of([] { LocalStore::at_endpoint("https://example.org"); }).kind(),
            ErrorKind::kUnavailable);
  EXPECT_EQ(error_of([] { LocalStore::at_endpoint("nonsense"); }).kind(), ErrorKind::kUsage);
  const int status = in_child([] {
    ::setenv("HOME", "/h", 1);
    ::unsetenv("HONE_HUB");
    ::unsetenv("XDG_DATA_HOME");
    const bool by_home = LocalStore::default_root() == "/h/.local/share/hone/hub";
    ::setenv("XDG_DATA_HOME", "/d", 1);
    const bool by_data = LocalStore::default_root() == "/d/hone/hub";
    ::setenv("HONE_HUB", "/s", 1);
    ::_exit(by_home && by_data && LocalStore::default_root() == "/s" ? 0 : 1);
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hone::hub
