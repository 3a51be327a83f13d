#include "hub/resolve.h"

#include "hub/cache.h"
#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

const std::string kId = "org/model";
const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

class ResolveTest : public ::testing::Test {
 protected:
  // The cache as huggingface_hub writes it: blobs, a relative link for each file, a ref.
  void fill_cache() {
    write_text(cached / "blobs" / "e1", "{\"model_type\": \"llama\"}");
    write_text(cached / "blobs" / "e2", "weights");
    write_text(cached / "refs" / "main", kCommit);
    fs::create_directories(snapshot / "sub");
    fs::create_symlink("../../blobs/e1", snapshot / "config.json");
    fs::create_symlink("../../../blobs/e2", snapshot / "sub" / "model.safetensors");
  }
  ResolvedRepo resolve(const std::string& id, const std::string& revision = "main") {
    return resolve_model(id, revision, {.store = store.root(), .cache = cache});
  }
  core::Error failure(const std::string& id, const std::string& revision = "main") {
    return error_of([&] { resolve(id, revision); });
  }

  TemporaryFolder folder;
  fs::path cache = folder / "cache";
  fs::path cached = cache / "models--org--model";
  fs::path snapshot = cached / "snapshots" / kCommit;
  LocalStore store{folder / "hub"};
};

TEST_F(ResolveTest, AFolderComesFirst) {
  write_model(folder / "model");
  const ResolvedRepo repo = resolve((folder / "model").string());
  EXPECT_EQ(repo.origin, Origin::kFolder);
  EXPECT_EQ(repo.commit, "");
  EXPECT_TRUE(repo.fingerprint.starts_with("sha256:"));
  EXPECT_EQ(failure((folder / "model").string(), "v1").kind(), ErrorKind::kUsage);
}

TEST_F(ResolveTest, TheLocalStoreComesBeforeTheCache) {
  fill_cache();
  write_model(folder / "model");
  const std::string commit = push_folder(store, kId, folder / "model", {.tag = "v1"}).commit;
  const ResolvedRepo repo = resolve(kId, "v1");
  EXPECT_EQ(repo.origin, Origin::kLocalStore);
  EXPECT_EQ(repo.commit, commit);
  EXPECT_EQ(repo.fingerprint, commit);
  EXPECT_EQ(read_text(repo.folder / "model.safetensors"), weights_text('w'));
  EXPECT_EQ(resolve(kId, kCommit).origin, Origin::kHubCache);
}

TEST_F(ResolveTest, TheCacheIsReadThroughLinksByBranchAndCommit) {
  fill_cache();
  write_text(cached / "refs" / "refs" / "pr" / "1", kCommit + "\n");
  for (const std::string& revision : {std::string("main"), std::string(), std::string("refs/pr/1"),
                                      kCommit, kCommit.substr(0, 8)}) {
    const ResolvedRepo repo = resolve(kId, revision);
    EXPECT_EQ(repo.origin, Origin::kHubCache) << revision;
    EXPECT_EQ(repo.commit, kCommit) << revision;
    EXPECT_EQ(read_text(repo.folder / "sub" / "model.safetensors"), "weights");
  }
}

TEST_F(ResolveTest, TheSharedBlobStoreOfTheCacheIsInside) {
  fill_cache();
  write_text(cache / "blobs" / "ab" / "xet", "shared");
  fs::create_symlink("../../blobs/ab/xet", cached / "blobs" / "e3");
  fs::create_symlink("../../blobs/e3", snapshot / "x.safetensors");
  EXPECT_EQ(read_text(resolve(kId).folder / "x.safetensors"), "shared");
}

TEST_F(ResolveTest, ALinkThatLeavesTheCacheIsRefused) {
  fill_cache();
  write_text(folder / "secret", "s");
  fs::create_symlink("../../../../secret", snapshot / "README.md");
  const core::Error error = failure(kId);
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("README.md"), std::string::npos);
  fs::remove(snapshot / "README.md");
  fs::create_directory_symlink(folder.path(), snapshot / "folder");
  EXPECT_EQ(failure(kId).kind(), ErrorKind::kBadInput);
}

TEST_F(ResolveTest, ASnapshotLinkedToAnotherPlaceIsRefused) {
  fill_cache();
  fs::rename(snapshot, folder / "elsewhere");
  fs::create_directory_symlink(folder / "elsewhere", snapshot);
  EXPECT_EQ(failure(kId).kind(), ErrorKind::kBadInput);
}

TEST_F(ResolveTest, ALinkWithoutContentIsNamed) {
  fill_cache();
  fs::remove(cached / "blobs" / "e2");
  const core::Error error = failure(kId);
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos);
}

TEST_F(ResolveTest, ADamagedReferenceFileIsNamed) {
  fill_cache();
  write_text(cached / "refs" / "main", "../../etc");
  const core::Error error = failure(kId);
  EXPECT_EQ(error.kind(), ErrorKind::kMissingInput);
  EXPECT_NE(std::string(error.what()).find((cached / "refs" / "main").string()), std::string::npos)
      << error.what();
}

TEST_F(ResolveTest, ARevisionCannotReachOutsideTheCache) {
  fill_cache();
  write_text(folder / "ref", kCommit);
  EXPECT_EQ(failure(kId, "../../../ref").kind(), ErrorKind::kMissingInput);
}

TEST_F(ResolveTest, WhatIsNowhereNamesTheThreePlaces) {
  const core::Error error = failure(kId);
  EXPECT_EQ(error.kind(), ErrorKind::kMissingInput);
  const std::string text = error.what();
  for (const std::string& part : {fs::absolute(kId).string(), store.root().string(), cache.string(),
                                  std::string("hone import"), std::string("hone pull")}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_EQ(failure("/absent/folder").kind(), ErrorKind::kMissingInput);
  EXPECT_EQ(failure("no such id").kind(), ErrorKind::kUsage);
  EXPECT_EQ(failure("").kind(), ErrorKind::kUsage);
  EXPECT_FALSE(fs::exists(store.root()));
}

TEST_F(ResolveTest, DatasetsHaveTheirOwnNames) {
  write_text(folder / "data" / "train.jsonl", "{}\n");
  push_folder(store, kId, folder / "data", {.kind = RepoKind::kDataset, .also_allow = {"*.jsonl"}});
  EXPECT_EQ(failure(kId).kind(), ErrorKind::kMissingInput);
  const ResolvedRepo repo = resolve_dataset(kId, "", {.store = store.root(), .cache = cache});
  EXPECT_EQ(read_text(repo.folder / "train.jsonl"), "{}\n");
}

TEST_F(ResolveTest, TheFingerprintFollowsContentNotPlaceOrTime) {
  write_model(folder / "a");
  write_text(folder / "a" / "model.safetensors", std::string(3 << 20, 'w'));
  fs::copy(folder / "a", folder / "b");
  write_text(folder / "b" / "notes.txt", "no model file");
  EXPECT_EQ(folder_fingerprint(folder / "a"), folder_fingerprint(folder / "b"));
  write_text(folder / "b" / "model.safetensors", std::string((3 << 20) - 1, 'w') + "x");
  EXPECT_NE(folder_fingerprint(folder / "a"), folder_fingerprint(folder / "b"));
}

TEST(Cache, FollowsTheEnvironmentInOrder) {
  const int status = in_child([] {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
      ::unsetenv(name);
    ::setenv("HOME", "/h", 1);
    bool good = default_cache() == "/h/.cache/huggingface/hub";
    ::setenv("XDG_CACHE_HOME", "/x", 1);
    good = good && default_cache() == "/x/huggingface/hub";
    ::setenv("HF_HOME", "/f", 1);
    good = good && default_cache() == "/f/hub";
    ::setenv("HF_HUB_CACHE", "/c", 1);
    ::_exit(good && default_cache() == "/c" ? 0 : 1);
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hone::hub
