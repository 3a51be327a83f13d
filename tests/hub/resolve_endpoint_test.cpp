// Where ids come from when an endpoint can be asked.
#include <atomic>

#include "hub/cache_repo.h"
#include "hub/resolve.h"
#include "hub/verbs.h"
#include "tests/hub/fake_hub.h"
#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

const std::string kId = "org/model";

class EndpointTest : public ::testing::Test {
 protected:
  EndpointTest() {
    options.store = folder / "store";
    options.cache = folder / "cache";
    options.connect = [this] {
      ++num_connects;
      return impatient_client(endpoint);
    };
  }
  void connect_to(FakeHub& hub) { endpoint = hub.url(); }
  std::map<std::string, std::string> files() const {
    return {{"config.json", "{}"}, {"tokenizer.json", "{}"}, {"model.safetensors", "weights"}};
  }

  TemporaryFolder folder;
  std::string endpoint;
  std::atomic<int> num_connects = 0;
  ResolveOptions options;
};

TEST_F(EndpointTest, IsAskedForWhatIsNowhereElseAndOnce) {
  FakeHub hub(RepoKind::kModel, kId, files());
  connect_to(hub);
  const ResolvedRepo first = resolve_model(kId, "main", options);
  EXPECT_EQ(first.origin, Origin::kEndpoint);
  EXPECT_EQ(first.commit, kFakeCommit);
  EXPECT_EQ(first.fingerprint, kFakeCommit);
  const ResolvedRepo second = resolve_model(kId, "main", options);
  EXPECT_EQ(second.origin, Origin::kHubCache);
  EXPECT_EQ(second.folder, first.folder);
  EXPECT_EQ(num_connects, 1);
}

TEST_F(EndpointTest, FolderAndLocalStoreComeFirst) {
  write_model(folder / "model");
  LocalStore store(folder / "store");
  push_folder(store, kId, folder / "model", {});
  EXPECT_EQ(resolve_model(kId, "main", options).origin, Origin::kLocalStore);
  EXPECT_EQ(pull(kId, "", RepoKind::kModel, options).origin, Origin::kLocalStore);
  EXPECT_EQ(resolve_model((folder / "model").string(), "", options).origin, Origin::kFolder);
  EXPECT_EQ(num_connects, 0);
}

TEST_F(EndpointTest, APartOfAModelInTheCacheIsCompleted) {
  FakeHub hub(RepoKind::kModel, kId, files());
  connect_to(hub);
  ResolveOptions tokenizer = options;
  tokenizer.select = select_model_files(ModelPart::kTokenizer);
  EXPECT_EQ(resolve_model(kId, "main", tokenizer).origin, Origin::kEndpoint);
  EXPECT_EQ(hub.num_gets("model.safetensors"), 0);
  const ResolvedRepo whole = resolve_model(kId, "main", options);
  EXPECT_EQ(whole.origin, Origin::kEndpoint);
  EXPECT_EQ(read_text(whole.folder / "model.safetensors"), "weights");
  EXPECT_EQ(hub.num_gets("config.json"), 1);
}

TEST_F(EndpointTest, WhatPythonFilledWithoutAListingCountsWhenNothingIsMissing) {
  FakeHub hub(RepoKind::kModel, kId, files());
  const fs::path repo = folder / "cache" / "models--org--model";
  write_text(repo / "refs" / "main", kFakeCommit);
  write_text(repo / "snapshots" / kFakeCommit / "config.json", "{}");
  connect_to(hub);
  EXPECT_EQ(resolve_model(kId, "main", options).origin, Origin::kEndpoint) << "no weights there";
  fs::remove_all(repo / "trees");
  EXPECT_EQ(resolve_model(kId, "main", options).origin, Origin::kHubCache);
}

TEST_F(EndpointTest, PullBringsWhatTheBranchIsNow) {
  FakeHub hub(RepoKind::kModel, kId, files());
  connect_to(hub);
  pull(kId, "", RepoKind::kModel, options);
  const std::string next(40, 'a');
  hub.server().on("GET", hub.api() + "/revision/main",
                  {Reply::json(core::Json{{"sha", next}}.dump())});
  hub.server().on("GET", hub.api() + "/tree/" + next + "?recursive=true&expand=false",
                  {Reply::json(core::Json::array({hub.entry("model.safetensors")}).dump())});
  const PullResult result = pull(kId, "", RepoKind::kModel, options);
  EXPECT_EQ(result.commit, next);
  EXPECT_EQ(result.downloaded_bytes, 0) << "the same content is there already";
  EXPECT_EQ(hub.num_gets("model.safetensors"), 1);
}

TEST_F(EndpointTest, AHubThatIsGoneIsAnsweredFromTheCache) {
  {
    FakeHub hub(RepoKind::kModel, kId, files());
    connect_to(hub);
    pull(kId, "", RepoKind::kModel, options);
  }
  const PullResult result = pull(kId, "", RepoKind::kModel, options);
  EXPECT_EQ(result.origin, Origin::kHubCache);
  EXPECT_EQ(result.commit, kFakeCommit);
  EXPECT_EQ(error_of([&] { pull("org/other", "", RepoKind::kModel, options); }).kind(),
            ErrorKind::kUnavailable);
}

TEST_F(EndpointTest, OfflineNobodyIsAskedAndWhatIsMissingIsNamed) {
  FakeHub hub(RepoKind::kModel, kId, files());
  connect_to(hub);
  ResolveOptions tokenizer = options;
  tokenizer.select = select_model_files(ModelPart::kTokenizer);
  resolve_model(kId, "main", tokenizer);
  const size_t before = hub.server().requests().size();
  const int status = in_child([&] {
    ::setenv("HF_HUB_OFFLINE", "1", 1);
    if (pull(kId, "", RepoKind::kModel, tokenizer).origin != Origin::kHubCache) ::_exit(1);
    const core::Error part = error_of([&] { resolve_model(kId, "main", options); });
    const core::Error none = error_of([&] { resolve_model("org/none", "main", options); });
    const bool good = part.kind() == ErrorKind::kMissingInput &&
                      std::string(part.what()).find("model.safetensors") != std::string::npos &&
                      none.kind() == ErrorKind::kMissingInput &&
                      std::string(none.what()).find("HF_HUB_OFFLINE") != std::string::npos;
    ::_exit(good ? 0 : 2);
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(hub.server().requests().size(), before);
}

TEST_F(EndpointTest, OnlyTheSelectedFilesOfADatasetCome) {
  FakeHub hub(RepoKind::kDataset, "org/rows",
              {{"README.md", "card"}, {"train.jsonl", "1"}, {"test.jsonl", "2"}});
  connect_to(hub);
  options.select = [](const std::vector<std::string>& paths, const ReadFile& read) {
    EXPECT_EQ(paths, (std::vector<std::string>{"README.md", "test.jsonl", "train.jsonl"}));
    EXPECT_EQ(read("README.md"), "card");
    return std::vector<std::string>{"test.jsonl"};
  };
  const ResolvedRepo repo = resolve_dataset("org/rows", "", options);
  EXPECT_EQ(read_text(repo.folder / "test.jsonl"), "2");
  EXPECT_FALSE(fs::exists(repo.folder / "train.jsonl"));
  EXPECT_TRUE(fs::exists(folder / "cache" / "datasets--org--rows" / "refs" / "main"));
  EXPECT_EQ(resolve_dataset("org/rows", "", options).origin, Origin::kHubCache);
}

TEST_F(EndpointTest, AnOutputHoldsFilesOfItsOwn) {
  FakeHub hub(RepoKind::kModel, kId, files());
  connect_to(hub);
  const PullResult result =
      pull(kId + "@main", folder / "copy", RepoKind::kModel, options, PullFrom::kEndpoint);
  EXPECT_EQ(result.folder, folder / "copy");
  EXPECT_FALSE(fs::is_symlink(folder / "copy" / "config.json"));
  EXPECT_EQ(read_text(folder / "copy" / "model.safetensors"), "weights");
}

}  // namespace
}  // namespace hone::hub
