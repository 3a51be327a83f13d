#include "hub/pull_snapshot.h"

#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "hub/cache_repo.h"
#include "tests/hub/fake_hub.h"
#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;

const std::string kId = "org/model";
const std::string kToken = "hf_abcdefghijklmnopqrstuvwx";
const std::string kWeights = "model.safetensors";

std::map<std::string, std::string> model_files() {
  return {{"config.json", "{\"model_type\": \"llama\"}"},
          {"tokenizer.json", "{}"},
          {"README.md", "# card"},
          {"additional_chat_templates/tools.jinja", "{{ x }}"},
          {kWeights, varied_text(100'000)},
          {"pytorch_model.bin", "pickle"},
          {"onnx/model.onnx", "graph"},
          {"original/consolidated.safetensors", "again"}};
}

class PullTest : public ::testing::Test {
 protected:
  PulledSnapshot pull(FakeHub& hub, const PullSettings& settings = {},
                      ModelPart part = ModelPart::kModel, const std::string& revision = "main") {
    return pull_snapshot(impatient_client(hub.url(), kToken), cache,
                         {.id = kId, .revision = revision}, select_model_files(part), settings);
  }
  core::Error failure(FakeHub& hub, const PullSettings& settings = {}) {
    return error_of([&] { pull(hub, settings); });
  }
  fs::path blob(const FakeHub& hub, const std::string& path) const {
    return repo / "blobs" / hub.etag(path);
  }
  fs::path partial(const FakeHub& hub, const std::string& path) const {
    return repo / "blobs" / (hub.etag(path) + ".hone.incomplete");
  }

  TemporaryFolder folder;
  fs::path cache = folder / "hf" / "hub";
  fs::path repo = cache / "models--org--model";
  fs::path snapshot = repo / "snapshots" / kFakeCommit;
  // One block, several requests a file.
  PullSettings pieces{
      .download = {.num_connections = 4, .block_bytes = 1000, .segment_bytes = 20'000}};
};

TEST_F(PullTest, BringsWhatIsNeededInTheLayoutOfTheCache) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  const PulledSnapshot pulled = pull(hub);
  EXPECT_EQ(pulled.folder, snapshot);
  EXPECT_EQ(pulled.commit, kFakeCommit);
  EXPECT_EQ(pulled.files,
            (std::vector<std::string>{"README.md", "additional_chat_templates/tools.jinja",
                                      "config.json", kWeights, "tokenizer.json"}));
  for (const std::string& path : pulled.files) {
    EXPECT_TRUE(read_text(snapshot / path) == hub.content(path)) << path;
    const std::string up = path.find('/') == std::string::npos ? "../../" : "../../../";
    EXPECT_EQ(fs::read_symlink(snapshot / path), up + "blobs/" + hub.etag(path));
  }
  EXPECT_EQ(pulled.downloaded_bytes, 100'000 + 7 + 6 + 2 + hub.content("config.json").size());
  EXPECT_FALSE(fs::exists(snapshot / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(snapshot / "onnx"));
  EXPECT_EQ(read_text(repo / "refs" / "main"), kFakeCommit) << "no newline";
  EXPECT_TRUE(fs::exists(repo / ".no_exist" / kFakeCommit / "generation_config.json"));
  EXPECT_FALSE(fs::exists(repo / ".no_exist" / kFakeCommit / "config.json"));
  EXPECT_TRUE(
      read_text(cache / "CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
  EXPECT_TRUE(fs::exists(cache / ".locks" / "models--org--model" / (hub.etag(kWeights) + ".lock")));
  struct stat status {};
  ASSERT_EQ(::stat(cache.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700) << "a new cache is the user's alone";
  EXPECT_TRUE(hub.server().unexpected().empty());
  for (const ServedRequest& request : hub.server().requests()) {
    const bool pinned = request.target.find(kFakeCommit) != std::string::npos;
    EXPECT_TRUE(pinned || request.target == hub.api() + "/revision/main") << request.target;
  }
}

TEST_F(PullTest, TheListingIsKeptWithAllFilesOfTheCommit) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  pull(hub);
  const Json tree = Json::parse(read_text(repo / "trees" / (kFakeCommit + ".json")));
  EXPECT_EQ(tree["format_version"], 1);
  EXPECT_EQ(tree["files"].size(), model_files().size());
  EXPECT_EQ(tree["files"]["pytorch_model.bin"],
            (Json{{"size", 6}, {"blob_id", hub.etag("pytorch_model.bin")}}));
  EXPECT_EQ(tree["files"][kWeights]["lfs_sha256"], hub.etag(kWeights));
  EXPECT_EQ(tree["files"][kWeights]["lfs_size"], 100'000);
  EXPECT_EQ(tree["files"][kWeights]["blob_id"], core::git_blob_sha1("pointer of " + kWeights));
}

TEST_F(PullTest, ASecondPullAsksForTheCommitOnly) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  pull(hub);
  const size_t before = hub.server().requests().size();
  EXPECT_EQ(pull(hub).downloaded_bytes, 0);
  EXPECT_EQ(hub.server().requests().size(), before + 1);
  EXPECT_EQ(pull(hub, {}, ModelPart::kModel, kFakeCommit).commit, kFakeCommit);
  EXPECT_EQ(hub.server().requests().size(), before + 1) << "a commit id needs no question";
}

TEST_F(PullTest, OnlyTheShardsOfTheIndexCome) {
  FakeHub hub(RepoKind::kModel, kId,
              {{"config.json", "{}"},
               {"model.safetensors.index.json",
                R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})"},
               {"model-1.safetensors", "1"},
               {"model-2.safetensors", "2"},
               {"consolidated.safetensors", "all of it again"}});
  EXPECT_EQ(pull(hub).files,
            (std::vector<std::string>{"config.json", "model-1.safetensors", "model-2.safetensors",
                                      "model.safetensors.index.json"}));
  EXPECT_EQ(hub.num_gets("consolidated.safetensors"), 0);
}

TEST_F(PullTest, AnIndexCannotNameAPlaceOutside) {
  FakeHub hub(RepoKind::kModel, kId,
              {{"model.safetensors.index.json", R"({"weight_map": {"a": "../../../x"}})"}});
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput);
}

TEST_F(PullTest, WeightsAsPicklesOnlyAreRefusedByName) {
  FakeHub hub(RepoKind::kModel, kId, {{"config.json", "{}"}, {"pytorch_model.bin", "pickle"}});
  const core::Error error = failure(hub);
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_NE(std::string(error.what()).find("pytorch_model.bin"), std::string::npos);
  EXPECT_EQ(pull(hub, {}, ModelPart::kTokenizer).files, std::vector<std::string>{"config.json"});
}

TEST_F(PullTest, TheListingIsReadPageByPage) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  const Json all = hub.listing();
  Json first = Json::array({all[0], all[1], all[2], all[3]}), second = Json::array();
  for (size_t i = 4; i < all.size(); ++i) second.push_back(all[i]);
  const std::string next = hub.tree_target() + "&cursor=abc%3D";
  hub.server().on(
      "GET", hub.tree_target(),
      {Reply::json(first.dump()).with("Link", "<" + hub.url() + next + ">; rel=\"next\"")});
  hub.server().on("GET", next, {Reply::json(second.dump())});
  EXPECT_EQ(pull(hub).files.size(), 5);
  EXPECT_TRUE(hub.server().unexpected().empty());
}

TEST_F(PullTest, AListingThatGoesOnElsewhereIsRefused) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  ScriptedServer other;
  hub.server().on("GET", hub.tree_target(),
                  {Reply::json("[]").with("Link", "<" + other.url() + "/x>; rel=\"next\"")});
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kUnavailable);
  EXPECT_TRUE(other.requests().empty());
}

TEST_F(PullTest, AHubWithoutDescriptionsIsAskedForReferencesThenForAFile) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.server().on("GET", hub.api() + "/revision/main", {Reply::json("{}", 401)});
  hub.server().on(
      "GET", hub.api() + "/refs",
      {Reply::json(Json{{"branches", {{{"name", "main"}, {"targetCommit", kFakeCommit}}}},
                        {"tags", Json::array()}}
                       .dump())});
  EXPECT_EQ(pull(hub).commit, kFakeCommit);
  hub.server().on("GET", hub.api() + "/refs", {Reply::json("{}", 404)});
  hub.server().on("HEAD", "/" + kId + "/resolve/main/README.md",
                  {Reply{}.with("X-Repo-Commit", kFakeCommit)});
  EXPECT_EQ(pull(hub).commit, kFakeCommit);
}

TEST_F(PullTest, RefusalsHaveTheirExitCodesAndName) {
  struct Case {
    int status;
    std::string code;
    ErrorKind kind;
  };
  for (const Case& c : {Case{401, "RepoNotFound", ErrorKind::kNoPermission},
                        Case{403, "GatedRepo", ErrorKind::kNoPermission},
                        Case{404, "RepoNotFound", ErrorKind::kMissingInput},
                        Case{404, "RevisionNotFound", ErrorKind::kMissingInput},
                        Case{503, "", ErrorKind::kUnavailable}}) {
    FakeHub hub(RepoKind::kModel, kId, {});
    hub.server().otherwise(
        [&](const ServedRequest&) { return Reply::error(c.status, c.code, "no"); });
    hub.server().on("GET", hub.api() + "/revision/v9", {Reply::error(c.status, c.code, "no")});
    const core::Error error = error_of([&] { pull(hub, {}, ModelPart::kModel, "v9"); });
    EXPECT_EQ(error.kind(), c.kind) << error.what();
    EXPECT_NE(std::string(error.what()).find("org/model"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("v9"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find(kToken), std::string::npos);
    EXPECT_FALSE(fs::exists(cache));
  }
}

TEST_F(PullTest, AGatedFileIsRefusedWithThePageToAskAt) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.server().on("GET", hub.file_target(kWeights), {Reply::error(403, "GatedRepo", "ask")});
  const core::Error error = failure(hub);
  EXPECT_EQ(error.kind(), ErrorKind::kNoPermission);
  EXPECT_NE(std::string(error.what()).find(hub.url() + "/org/model"), std::string::npos)
      << error.what();
}

TEST_F(PullTest, UnsafeNamesAreRefusedAndNothingIsWritten) {
  for (const std::string name :
       {"..\\a", "a/../../b", "/etc/passwd", "../x", "a//b", "", ".", "a/."}) {
    FakeHub hub(RepoKind::kModel, kId, model_files());
    Json list = hub.listing();
    list[1]["path"] = name;
    hub.list(list);
    const core::Error error = failure(hub);
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << name;
    EXPECT_NE(std::string(error.what()).find("unsafe path"), std::string::npos) << error.what();
    EXPECT_FALSE(fs::exists(folder / "hf")) << name;
  }
}

TEST_F(PullTest, AFileThatIsAFolderTooAndHashesThatAreNoneAreRefused) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  Json list = hub.listing();
  list[1]["path"] = "config.json/x";
  hub.list(list);
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput);
  list = hub.listing();
  list[1]["oid"] = "../../../../evil";
  hub.list(list);
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput);
  list = hub.listing();
  list[1].erase("size");
  hub.list(list);
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput);
  EXPECT_FALSE(fs::exists(folder / "hf"));
}

TEST_F(PullTest, ALargeFileComesInRangesOverSeveralConnections) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  pull(hub, pieces);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  const auto gets = hub.server().requests("GET", hub.file_target(kWeights));
  ASSERT_EQ(gets.size(), 5);
  std::set<std::string> ranges;
  for (const ServedRequest& get : gets) ranges.insert(get.header("range"));
  EXPECT_EQ(ranges,
            (std::set<std::string>{"bytes=0-19999", "bytes=20000-39999", "bytes=40000-59999",
                                   "bytes=60000-79999", "bytes=80000-99999"}));
}

TEST_F(PullTest, ABodyCutShortGoesOnWhereItEnded) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::atomic<int> n = 0;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest& request) {
    Reply reply = Reply::content(request, hub.content(kWeights));
    if (++n < 4) {
      reply.end = BodyEnd::kClose;
      reply.sent_bytes = 30'000;
    }
    return reply;
  });
  EXPECT_EQ(pull(hub).downloaded_bytes, 100'000 + 7 + 6 + 2 + hub.content("config.json").size())
      << "no byte twice";
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  const auto gets = hub.server().requests("GET", hub.file_target(kWeights));
  ASSERT_EQ(gets.size(), 4);
  EXPECT_EQ(gets[1].header("range"), "bytes=30000-99999");
  EXPECT_EQ(gets[3].header("range"), "bytes=90000-99999");
}

TEST_F(PullTest, AStallIsBrokenOffAndResumed) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::atomic<int> n = 0;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest& request) {
    Reply reply = Reply::content(request, hub.content(kWeights));
    if (++n == 1) {
      reply.end = BodyEnd::kStall;
      reply.sent_bytes = 30'000;
    }
    return reply;
  });
  pull(hub);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_EQ(hub.server().requests("GET", hub.file_target(kWeights))[1].header("range"),
            "bytes=30000-99999");
}

TEST_F(PullTest, WhatHasComeIsKeptForTheNextRun) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::atomic<int> n = 0;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest& request) {
    if (++n > 1) return Reply::closed();
    Reply reply = Reply::content(request, hub.content(kWeights));
    reply.end = BodyEnd::kClose;
    reply.sent_bytes = 41'500;
    return reply;
  });
  PullSettings settings{.download = {.block_bytes = 1000}};
  const core::Error error = failure(hub, settings);
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_TRUE(fs::exists(partial(hub, kWeights)));
  EXPECT_FALSE(fs::exists(snapshot / kWeights));
  EXPECT_FALSE(fs::exists(repo / "refs" / "main")) << "an unfinished snapshot is no revision";

  hub.serve(kWeights, hub.content(kWeights));
  const size_t before = hub.num_gets(kWeights);
  pull(hub, settings);
  const auto gets = hub.server().requests("GET", hub.file_target(kWeights));
  ASSERT_EQ(gets.size(), before + 1);
  EXPECT_EQ(gets.back().header("range"), "bytes=41000-99999");
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_FALSE(fs::exists(partial(hub, kWeights)));
}

TEST_F(PullTest, AWholeAnswerToARangeStartsAgain) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::atomic<int> n = 0;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest&) {
    Reply reply{.body = hub.content(kWeights)};
    if (++n == 1) {
      reply.end = BodyEnd::kClose;
      reply.sent_bytes = 30'000;
    }
    return reply;
  });
  pull(hub);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_EQ(hub.server().requests("GET", hub.file_target(kWeights))[1].header("range"),
            "bytes=30000-99999");
}

TEST_F(PullTest, AHubWithoutRangesIsReadInOnePiece) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.server().on("GET", hub.file_target(kWeights), {Reply{.body = hub.content(kWeights)}});
  pull(hub, pieces);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  hub.server().on("GET", hub.file_target("tokenizer.json"), [&](const ServedRequest& request) {
    return request.has_header("range") ? Reply{.status = 416} : Reply{.body = "{}"};
  });
  fs::remove_all(cache);
  PullSettings bytes{.download = {.block_bytes = 1, .segment_bytes = 1}};
  EXPECT_EQ(pull(hub, bytes, ModelPart::kTokenizer).files.size(), 4);
  EXPECT_EQ(read_text(snapshot / "tokenizer.json"), "{}");
}

TEST_F(PullTest, WrongContentIsDeletedFetchedAgainAndThenRefused) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::string wrong = hub.content(kWeights);
  wrong[50'000] ^= 1;
  std::atomic<int> bad = 1;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest& request) {
    return Reply::content(request, bad-- > 0 ? wrong : hub.content(kWeights));
  });
  pull(hub);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_EQ(hub.num_gets(kWeights), 2);

  fs::remove_all(cache);
  bad = 1000;
  const core::Error error = failure(hub);
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
  EXPECT_EQ(hub.num_gets(kWeights), 4);
  EXPECT_NE(std::string(error.what()).find(kWeights), std::string::npos);
  EXPECT_NE(std::string(error.what()).find(hub.etag(kWeights)), std::string::npos);
  EXPECT_FALSE(fs::exists(blob(hub, kWeights)));
  EXPECT_FALSE(fs::exists(partial(hub, kWeights)));
  EXPECT_FALSE(fs::exists(snapshot / kWeights));
}

TEST_F(PullTest, ASmallFileIsHeldAgainstItsGitNameToo) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.server().on("GET", hub.file_target("tokenizer.json"), {Reply{.body = "[]"}});
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput);
  EXPECT_FALSE(fs::exists(blob(hub, "tokenizer.json")));
}

TEST_F(PullTest, AnotherSizeThanListedIsRefused) {
  for (const std::string& content : {std::string("{}{}"), std::string("{")}) {
    FakeHub hub(RepoKind::kModel, kId, model_files());
    hub.serve("tokenizer.json", content);
    EXPECT_EQ(failure(hub).kind(), ErrorKind::kBadInput) << content;
  }
  fs::remove_all(cache);
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.serve(kWeights, hub.content(kWeights) + "more");
  EXPECT_EQ(failure(hub, pieces).kind(), ErrorKind::kBadInput);
}

TEST_F(PullTest, ContentOfAnotherCommitIsRefused) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  hub.server().on("GET", hub.file_target("config.json"),
                  {Reply{.body = hub.content("config.json")}.with(
                      "X-Repo-Commit", "ffffffffffffffffffffffffffffffffffffffff")});
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kUnavailable);
}

TEST_F(PullTest, TheTokenDoesNotFollowToWhereTheBytesLie) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  ScriptedServer store;
  store.otherwise(
      [&](const ServedRequest& request) { return Reply::content(request, hub.content(kWeights)); });
  hub.server().on("GET", hub.file_target(kWeights),
                  {Reply::redirect(store.url() + "/bytes?Signature=s")});
  pull(hub, pieces);
  EXPECT_EQ(store.requests().size(), 5);
  EXPECT_EQ(store.received().find(kToken), std::string::npos);
  EXPECT_NE(hub.server().received().find(kToken), std::string::npos);
}

TEST_F(PullTest, ADownloadThatCannotFitIsRefusedWithBothNumbers) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  Json list = hub.listing();
  for (Json& entry : list) {
    if (entry["path"] == kWeights) entry["size"] = entry["lfs"]["size"] = uint64_t{1} << 60;
  }
  hub.list(list);
  const core::Error error = failure(hub);
  EXPECT_EQ(error.kind(), ErrorKind::kIo);
  EXPECT_NE(std::string(error.what()).find("free"), std::string::npos) << error.what();
  EXPECT_EQ(hub.num_gets(kWeights), 0);
}

TEST_F(PullTest, ABlobOfTheCacheIsCheckedBeforeItIsUsed) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  write_text(blob(hub, kWeights), hub.content(kWeights));
  write_text(blob(hub, "tokenizer.json"), "[]");
  pull(hub);
  EXPECT_EQ(hub.num_gets(kWeights), 0);
  EXPECT_EQ(hub.num_gets("tokenizer.json"), 1);
  EXPECT_EQ(read_text(snapshot / "tokenizer.json"), "{}");
}

TEST_F(PullTest, VerifyMendsWhatHasRotted) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  pull(hub);
  std::string rotten = hub.content(kWeights);
  rotten[7] ^= 1;
  write_text(blob(hub, kWeights), rotten);
  EXPECT_EQ(pull(hub).downloaded_bytes, 0);
  EXPECT_EQ(pull(hub, {.verify = true}).downloaded_bytes, 100'000);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
}

TEST_F(PullTest, ACacheAnybodyMayWriteIntoIsNotUsed) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  fs::create_directories(cache);
  ::chmod(cache.c_str(), 0777);
  EXPECT_EQ(failure(hub).kind(), ErrorKind::kNoPermission);
}

TEST_F(PullTest, ALinkInThePlaceOfADownloadIsNotFollowed) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  write_text(folder / "victim", "mine");
  fs::create_directories(repo / "blobs");
  fs::create_symlink(folder / "victim", partial(hub, kWeights));
  EXPECT_THROW(pull(hub), core::Error);
  EXPECT_EQ(read_text(folder / "victim"), "mine");
}

TEST_F(PullTest, ProgressEndsWithEverything) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  PullState last;
  uint64_t most = 0;
  pieces.progress = [&](const PullState& state) {
    last = state;
    most = std::max(most, state.done_bytes);
  };
  pull(hub, pieces);
  EXPECT_EQ(last.num_files, 5);
  EXPECT_EQ(last.num_done, 5);
  EXPECT_EQ(last.done_bytes, last.total_bytes);
  EXPECT_EQ(last.network_bytes, last.total_bytes);
  EXPECT_EQ(most, last.total_bytes);
}

TEST_F(PullTest, TwoProcessesAtOnceDownloadEachFileOnce) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  const auto work = [&] { pull(hub); };
  EXPECT_EQ(in_children({work, work}), (std::vector<int>{0, 0}));
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_EQ(hub.num_gets(kWeights), 1);
}

TEST_F(PullTest, AKilledProcessLeavesItsLockAndItsBytesToTheNext) {
  FakeHub hub(RepoKind::kModel, kId, model_files());
  std::atomic<bool> is_first = true;
  hub.server().on("GET", hub.file_target(kWeights), [&](const ServedRequest& request) {
    Reply reply = Reply::content(request, hub.content(kWeights));
    if (is_first.exchange(false)) {
      reply.end = BodyEnd::kStall;
      reply.sent_bytes = 64'500;
    }
    return reply;
  });
  const PullSettings settings{.download = {.block_bytes = 1000}};
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      pull(hub, settings);
    } catch (...) {
    }
    ::_exit(0);
  }
  // The child has taken what there is once the marks of 64 blocks are on disk.
  const auto num_marks = [&] {
    const std::string text = read_text(partial(hub, kWeights));
    return text.size() < 100'100 ? 0 : std::count(text.begin() + 100'000, text.end(), '\1');
  };
  while (num_marks() < 64) std::this_thread::yield();
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(fs::exists(blob(hub, kWeights)));
  pull(hub, settings);
  EXPECT_TRUE(read_text(snapshot / kWeights) == hub.content(kWeights));
  EXPECT_EQ(hub.server().requests("GET", hub.file_target(kWeights)).back().header("range"),
            "bytes=64000-99999");
  EXPECT_EQ(std::distance(fs::directory_iterator(repo / "blobs"), {}), 5);
}

}  // namespace
}  // namespace hone::hub
