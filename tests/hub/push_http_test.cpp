// What a push does when the hub, the network or another user gets in its way: no half commit, no
// second commit, no token elsewhere, and an exit code that says what to do.
#include "hub/push_http.h"

#include <algorithm>

#include "core/hash.h"
#include "tests/hub/replayed_hub.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

namespace fs = std::filesystem;

const std::string kOther = std::string(40, 'b');  // a commit of somebody else
const PushOptions kPlain{.message = "Fine-tune"};

class PushHttp : public ::testing::Test {
 protected:
  // The recording of a push into a repository that holds config.json and old.safetensors.
  PushHttp() { hub.write_folder(folder / "tiny"); }

  PushResult push(const PushOptions& options = kPlain) { return push_with(client(), options); }
  PushResult push_with(const HttpClient& with, const PushOptions& options = kPlain) {
    return push_folder(with, hub.id(), folder / "tiny", options);
  }
  core::Error failure(const PushOptions& options = kPlain) {
    return error_of([&] { push(options); });
  }
  HttpClient client() {
    return HttpClient({.endpoint = hub.hub.url(),
                       .token = ReplayedHub::kToken,
                       .stall_timeout = std::chrono::seconds(1),
                       .sleep = [this](auto pause) { pauses.push_back(pause.count()); }});
  }

  // Puts `replies` before the recorded one.
  void before(const std::string& method, const std::string& part, std::vector<Reply> replies) {
    replies.push_back(hub.reply(method, part));
    instead(method, part, std::move(replies));
  }
  void instead(const std::string& method, const std::string& part, std::vector<Reply> replies) {
    const core::Json exchange = hub.find(method, part);
    ScriptedServer& server = exchange["server"] == "hub" ? hub.hub : hub.storage;
    server.on(method, exchange["target"], std::move(replies));
  }
  size_t count(const std::string& method, const std::string& part) {
    const std::string target = hub.target(method, part);
    return hub.hub.requests(method, target).size() + hub.storage.requests(method, target).size();
  }
  size_t commits() { return count("POST", "/commit/"); }

  Reply head_reply(const std::string& commit) const {
    return Reply::json("{\"private\": true, \"sha\": \"" + commit + "\"}");
  }
  // The branch is at the recorded head, then at `commit`, whose files are those of `entries`.
  void head_moves_to(const std::string& commit, const std::string& entries) {
    instead("GET", "/revision/", {hub.reply("GET", "/revision/"), head_reply(commit)});
    hub.hub.on("GET", "/api/models/ada/tiny/tree/" + commit + "?recursive=true&expand=false",
               {Reply::json(entries)});
  }
  std::string pushed_entries() const {
    const std::string blob = R"(", "size": 1, "type": "file", "path": ")";
    return R"([{"oid": ")" + core::git_blob_sha1(read_text(folder / "tiny" / "config.json")) +
           blob + R"(config.json"}, {"oid": ")" + core::git_blob_sha1("") + blob +
           R"(merges.txt"}, {"oid": ")" + core::git_blob_sha1("{}\n") + blob +
           R"(tokenizer.json"}, {"oid": ")" + std::string(40, '1') + blob +
           R"(model.safetensors", "lfs": {"oid": ")" + core::sha256_hex(std::string(2500, 'w')) +
           R"(", "size": 2500}}])";
  }
  static std::string parent_of(const ServedRequest& commit) {
    return core::Json::parse(commit.body.substr(0, commit.body.find('\n')))["value"].value(
        "parentCommit", std::string("none"));
  }

  ReplayedHub hub{"push_again"};
  TemporaryFolder folder;
  std::vector<int64_t> pauses;  // milliseconds
};

TEST_F(PushHttp, BrokenFoldersAndAMissingTokenAreFoundBeforeAnythingIsAsked) {
  EXPECT_EQ(error_of([&] { push_with(hub.client("")); }).kind(), ErrorKind::kNoPermission);
  write_text(folder / "tiny" / "model.safetensors.index.json", R"({"weight_map": {"w": "no"}})");
  EXPECT_EQ(failure().kind(), ErrorKind::kMissingInput);
  write_text(folder / "tiny" / "model.safetensors.index.json", "{}");
  write_text(folder / "tiny" / "run.json", "{\"t\": \"" + ReplayedHub::kToken + "\"}");
  EXPECT_EQ(failure().kind(), ErrorKind::kNoPermission);
  EXPECT_EQ(failure({.tag = "v1", .create_pr = true}).kind(), ErrorKind::kUsage);
  EXPECT_TRUE(hub.hub.requests().empty());
}

struct Refusal {
  std::string method, part;
  Reply reply;
  ErrorKind kind;
};

TEST_F(PushHttp, ARefusalAtAnyStepHasItsExitCodeAndLeavesTheRepositoryAsItWas) {
  const Reply unauthorized = Reply::error(401, "", "Invalid credentials in Authorization header");
  const Reply forbidden = Reply::error(403, "", "You don't have the rights");
  const Reply gated = Reply::error(403, "GatedRepo", "Access to this model is restricted");
  const Reply gone = Reply::error(404, "RepoNotFound", "Repository not found");
  const std::vector<Refusal> refusals = {
      {"POST", "/create", unauthorized, ErrorKind::kNoPermission},
      {"POST", "/create", Reply::error(400, "", "bad name"), ErrorKind::kBadInput},
      {"GET", "/revision/", gated, ErrorKind::kNoPermission},
      {"GET", "/revision/", gone, ErrorKind::kMissingInput},
      {"GET", "/tree/", Reply::error(500, "", ""), ErrorKind::kUnavailable},
      {"POST", "/preupload/", forbidden, ErrorKind::kNoPermission},
      {"POST", "/preupload/", gone, ErrorKind::kMissingInput},
      {"POST", "/batch", forbidden, ErrorKind::kNoPermission},
      {"POST", "/batch", Reply::error(422, "", "too large"), ErrorKind::kBadInput},
      {"POST", "/batch", Reply::error(503, "", "down"), ErrorKind::kUnavailable},
      {"PUT", "/objects/", Reply{.status = 500}, ErrorKind::kUnavailable},
      {"PUT", "/objects/", Reply{.status = 403}, ErrorKind::kNoPermission},
      {"POST", "/verify", Reply::error(404, "EntryNotFound", ""), ErrorKind::kUnavailable},
      {"POST", "/verify", unauthorized, ErrorKind::kNoPermission},
      {"POST", "/commit/", unauthorized, ErrorKind::kNoPermission},
      {"POST", "/commit/", forbidden, ErrorKind::kNoPermission},
      {"POST", "/commit/", Reply::error(400, "", "bad card"), ErrorKind::kBadInput},
      {"POST", "/commit/", Reply::error(503, "", "down"), ErrorKind::kUnavailable},
  };
  for (const Refusal& refusal : refusals) {
    const size_t commits_before = commits();
    instead(refusal.method, refusal.part, {refusal.reply});
    const core::Error error = failure();
    const std::string what = refusal.method + " " + refusal.part + ": " + error.what();
    EXPECT_EQ(error.kind(), refusal.kind) << what;
    EXPECT_EQ(what.find(ReplayedHub::kToken), std::string::npos) << what;
    EXPECT_TRUE(refusal.part == "/commit/" || commits() == commits_before) << what;
    instead(refusal.method, refusal.part, {hub.reply(refusal.method, refusal.part)});
  }
}

TEST_F(PushHttp, WhoMayNotCreateRepositoriesMayPushToOneThatIsThere) {
  instead("POST", "/create", {Reply::error(403, "", "You don't have the rights to create")});
  EXPECT_TRUE(push().changed);
  instead("GET", "/revision/", {Reply::error(404, "RepoNotFound", "Repository not found")});
  EXPECT_EQ(failure().kind(), ErrorKind::kNoPermission);
}

TEST_F(PushHttp, PassingFaultsAreWaitedOutAsTheHubAsks) {
  const Reply error = Reply::error(500, "", "");
  before("POST", "/batch", {error, error, error});
  before("POST", "/preupload/", {Reply::error(429, "", "slow down").with("Retry-After", "17")});
  before("PUT", "/objects/", {Reply::closed(), Reply{.status = 503}});
  before("POST", "/verify", {{.body = "{}", .end = BodyEnd::kStall, .sent_bytes = 1}});
  EXPECT_TRUE(push().changed);
  EXPECT_EQ(pauses, (std::vector<int64_t>{17'000, 1000, 2000, 4000, 1000, 2000, 1000}));
  EXPECT_EQ(commits(), 1U);
  EXPECT_EQ(hub.storage.requests().back().body, std::string(2500, 'w')) << "sent whole again";
}

TEST_F(PushHttp, AnUploadThatKeepsBreakingMakesNoCommitAndTheNextPushSendsOnlyWhatIsMissing) {
  write_text(folder / "tiny" / "other.safetensors", "other");
  const std::string model = core::sha256_hex(std::string(2500, 'w'));
  const std::string other = core::sha256_hex("other");
  bool has_model = false;
  hub.hub.on("POST", hub.target("POST", "/preupload/"), [](const ServedRequest& request) {
    core::Json answer;
    const core::Json asked = core::Json::parse(request.body);
    for (const core::Json& file : asked["files"]) {
      const std::string path = file["path"];
      const bool large = path.ends_with(".safetensors");
      answer["files"].push_back({{"path", path}, {"uploadMode", large ? "lfs" : "regular"}});
    }
    return Reply::json(answer.dump());
  });
  hub.hub.on("POST", hub.target("POST", "/batch"), [&](const ServedRequest& request) {
    core::Json answer;
    const core::Json asked = core::Json::parse(request.body);
    for (core::Json object : asked["objects"]) {
      const std::string oid = object["oid"];
      if (oid != model || !has_model)
        object["actions"]["upload"]["href"] = hub.storage.url() + "/put/" + oid;
      answer["objects"].push_back(object);
    }
    return Reply::json(answer.dump());
  });
  hub.storage.on("PUT", "/put/" + model, [&](const ServedRequest&) {
    has_model = true;
    return Reply{};
  });
  hub.storage.on("PUT", "/put/" + other, {Reply::closed()});
  EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(commits(), 0U);
  EXPECT_TRUE(has_model);

  hub.storage.on("PUT", "/put/" + other, {Reply{}});
  const PushResult result = push();
  EXPECT_EQ(result.sent_bytes, 5U);
  EXPECT_EQ(commits(), 1U);
  EXPECT_EQ(hub.storage.requests("PUT", "/put/" + model).size(), 1U);
}

TEST_F(PushHttp, ACommitWhoseAnswerIsLostIsNotMadeTwice) {
  instead("POST", "/commit/", {Reply::closed(), Reply::error(500, "", "second commit")});
  head_moves_to(kOther, pushed_entries());
  const PushResult result = push();
  EXPECT_EQ(commits(), 1U);
  EXPECT_TRUE(result.changed);
  EXPECT_EQ(result.commit, kOther);
}

TEST_F(PushHttp, ACommitThatDidNotHappenIsTriedAgain) {
  before("POST", "/commit/", {Reply::closed(), Reply::error(504, "", "")});
  const PushResult result = push();
  EXPECT_EQ(commits(), 3U);
  EXPECT_EQ(count("GET", "/revision/"), 3U) << "the head is looked at before each new try";
  EXPECT_NE(hub.reply("POST", "/commit/").body.find(result.commit), std::string::npos);
}

TEST_F(PushHttp, ACommitThatComesThroughLateIsFoundByTheConflictOfTheNextTry) {
  instead("POST", "/commit/", {Reply::error(504, "", ""), Reply::error(412, "", "moved")});
  const Reply old_head = hub.reply("GET", "/revision/");
  instead("GET", "/revision/", {old_head, old_head, head_reply(kOther)});
  hub.hub.on("GET", "/api/models/ada/tiny/tree/" + kOther + "?recursive=true&expand=false",
             {Reply::json(pushed_entries())});
  EXPECT_EQ(push().commit, kOther);
  EXPECT_EQ(commits(), 2U);
}

TEST_F(PushHttp, WhenTheBranchMovesTheCommitIsPlannedAnewOnItsNewHead) {
  for (const int status : {409, 412}) {
    before("POST", "/commit/", {Reply::error(status, "", "A commit has happened since")});
    head_moves_to(kOther, R"([{"oid": ")" + std::string(40, '1') +
                              R"(", "size": 5, "type": "file", "path": "theirs.safetensors"}])");
    const PushResult result = push();
    EXPECT_EQ(result.removed, std::vector<std::string>{"theirs.safetensors"});
    const auto requests = hub.hub.requests("POST", hub.target("POST", "/commit/"));
    EXPECT_EQ(parent_of(requests.back()), kOther);
  }
}

TEST_F(PushHttp, ABranchThatKeepsMovingOrIsNotWhereItWasExpectedIsAConflict) {
  instead("POST", "/commit/", {Reply::error(412, "", "A commit has happened since")});
  const core::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kCannotCreate);
  EXPECT_NE(std::string(error.what()).find("the branch has moved"), std::string::npos);
  EXPECT_EQ(commits(), 3U);
  EXPECT_EQ(failure({.expected_parent = kOther}).kind(), ErrorKind::kCannotCreate);
  EXPECT_EQ(commits(), 3U) << "refused before a commit is sent";
}

TEST_F(PushHttp, APullRequestIsNeverOpenedTwice) {
  ReplayedHub replayed("push_pull_request");
  const std::string target = replayed.target("POST", "/commit/");
  replayed.hub.on("POST", target, {Reply::closed()});
  const core::Error error = error_of(
      [&] { push_folder(replayed.client(), replayed.id(), folder / "tiny", {.create_pr = true}); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_NE(std::string(error.what()).find("/discussions"), std::string::npos) << error.what();
  EXPECT_EQ(replayed.hub.requests("POST", target).size(), 1U);
}

TEST_F(PushHttp, ATakenTagIsRefusedBeforeAnUpload) {
  hub.hub.on("GET", "/api/models/ada/tiny/refs",
             {Reply::json(R"({"tags": [{"name": "v1", "targetCommit": ")" + kOther + "\"}]}")});
  EXPECT_EQ(failure({.tag = "v1"}).kind(), ErrorKind::kCannotCreate);
  EXPECT_TRUE(hub.storage.requests().empty());
  EXPECT_EQ(commits(), 0U);
}

TEST_F(PushHttp, ARepositoryWithoutACommitGetsItsFirst) {
  instead("GET", "/revision/", {Reply::error(404, "RevisionNotFound", "Invalid rev id: main")});
  EXPECT_TRUE(push().changed);
  EXPECT_EQ(parent_of(hub.hub.requests("POST", hub.target("POST", "/commit/")).at(0)), "none");
}

TEST_F(PushHttp, TheTokenGoesToTheHubAndNowhereElse) {
  instead("PUT", "/objects/", {Reply::redirect(hub.storage.url() + "/moved", 307)});
  hub.storage.on("PUT", "/moved", {Reply{}});
  EXPECT_TRUE(push().changed);
  EXPECT_EQ(hub.storage.requests("PUT", "/moved").at(0).body, std::string(2500, 'w'));
  EXPECT_EQ(hub.storage.received().find(ReplayedHub::kToken), std::string::npos);
}

TEST_F(PushHttp, RedirectsToOtherHostsAreNotFollowed) {
  const std::vector<std::string> places = {hub.storage.url() + "/x", "http://169.254.169.254/x",
                                           "http://hub.example/x", "https://10.0.0.1/x"};
  for (const std::string& place : places) {
    for (const std::string part : {"/create", "/preupload/", "/batch", "/commit/"}) {
      instead("POST", part, {Reply::redirect(place, 307)});
      EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable) << part << " to " << place;
      instead("POST", part, {hub.reply("POST", part)});
    }
  }
  instead("PUT", "/objects/", {Reply::redirect("http://169.254.169.254/x", 307)});
  EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable);
  for (const ServedRequest& request : hub.storage.requests()) EXPECT_NE(request.target, "/x");
}

TEST_F(PushHttp, AnswersThatMakeNoSenseAreNoCommit) {
  const std::vector<std::string> nonsense = {"<html>",
                                             "[]",
                                             "7",
                                             "{\"a\":",
                                             "{}",
                                             R"({"files": 1, "objects": {}})",
                                             R"({"files": [{"path": 1}], "objects": [{"oid": 5}]})",
                                             R"({"files": [], "objects": [], "commitOid": []})"};
  for (const std::string part : {"/preupload/", "/batch", "/commit/"}) {
    for (const std::string& text : nonsense) {
      const size_t commits_before = commits();
      instead("POST", part, {Reply::json(text)});
      EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable) << part << " " << text;
      EXPECT_TRUE(part == "/commit/" || commits() == commits_before) << part;
    }
    instead("POST", part, {hub.reply("POST", part)});
  }
  for (const std::string text : {"<html>", "[]", R"({"sha": 5})", R"({"sha": "main"})"}) {
    instead("GET", "/revision/", {Reply::json(text)});
    EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable) << text;
  }
}

TEST_F(PushHttp, EndlessStalledAndBrokenAnswersEndInBoundedTime) {
  const HttpClient once({.endpoint = hub.hub.url(),
                         .token = ReplayedHub::kToken,
                         .stall_timeout = std::chrono::seconds(1),
                         .max_retries = 0});
  const std::vector<Reply> replies = {{.body = std::string(100'000, ' '), .end = BodyEnd::kEndless},
                                      {.body = "{}", .end = BodyEnd::kStall, .sent_bytes = 1},
                                      {.body = "{}", .end = BodyEnd::kClose, .sent_bytes = 1},
                                      Reply::json("{}").with("X-Long", std::string(3 << 20, 'a')),
                                      {.raw = "SSH-2.0-OpenSSH_9\r\n"},
                                      Reply::closed()};
  for (size_t i = 0; i < replies.size(); ++i) {
    instead("GET", "/revision/", {replies[i]});
    EXPECT_EQ(error_of([&] { push_with(once); }).kind(), ErrorKind::kUnavailable) << i;
  }
}

TEST_F(PushHttp, AnAddressThatHasRunOutIsAskedForOnceMore) {
  before("PUT", "/objects/", {{.status = 403, .body = "<Error>Request has expired</Error>"}});
  EXPECT_EQ(push().sent_bytes, 2500U);
  EXPECT_EQ(count("POST", "/batch"), 2U);
  EXPECT_EQ(commits(), 1U);
}

TEST_F(PushHttp, PartsWithoutANameOrInTheWrongNumberAreNoUpload) {
  ReplayedHub parts("push_multipart");
  const auto kind = [&] {
    return error_of([&] { push_folder(parts.client(), parts.id(), folder / "tiny", kPlain); })
        .kind();
  };
  const std::string part = parts.target("PUT", "/parts/");
  parts.storage.on("PUT", part, {Reply{}});
  EXPECT_EQ(kind(), ErrorKind::kUnavailable) << "no ETag";
  parts.storage.on("PUT", part, {Reply{}.with("ETag", "\"1\"")});
  const Reply batch = parts.reply("POST", "/batch");
  for (const std::string size : {"700", "1300", "2500", "0", "-1", "x", "99999999999999999999"}) {
    Reply wrong = batch;
    const std::string right = R"("chunk_size": "1000")";
    wrong.body.replace(wrong.body.find(right), right.size(), R"("chunk_size": ")" + size + "\"");
    parts.hub.on("POST", parts.target("POST", "/batch"), {wrong});
    EXPECT_EQ(kind(), ErrorKind::kUnavailable) << size;
  }
  EXPECT_TRUE(parts.hub.requests("POST", parts.target("POST", "/commit/")).empty());
}

TEST_F(PushHttp, ManyFilesAreAskedAboutInLotsAndEqualOnesAreSentOnce) {
  const fs::path data = folder / "data";
  for (int i = 0; i < 300; ++i) write_text(data / (std::to_string(1000 + i) + ".jsonl"), "same\n");
  const std::string id = "/datasets/ada/tiny";
  hub.hub.on("GET", "/api" + id + "/revision/main",
             {Reply::error(404, "RevisionNotFound", "no commit yet")});
  std::vector<size_t> lots;
  hub.hub.on("POST", "/api" + id + "/preupload/main", [&](const ServedRequest& request) {
    core::Json answer = core::Json::parse(request.body);
    lots.push_back(answer["files"].size());
    for (core::Json& file : answer["files"]) file["uploadMode"] = "lfs";
    return Reply::json(answer.dump());
  });
  hub.hub.on("POST", id + ".git/info/lfs/objects/batch", [&](const ServedRequest& request) {
    core::Json answer = core::Json::parse(request.body);
    for (core::Json& object : answer["objects"])
      object["actions"]["upload"] = {{"href", hub.storage.url() + "/put"},
                                     {"header", {{"X-Own", "kept"}}}};
    return Reply::json(answer.dump());
  });
  hub.storage.on("PUT", "/put", {Reply{}});
  hub.hub.on("POST", "/api" + id + "/commit/main",
             {Reply::json("{\"commitOid\": \"" + kOther + "\"}")});
  const PushResult result = push_folder(client(), hub.id(), data,
                                        {.kind = RepoKind::kDataset, .also_allow = {"*.jsonl"}});
  EXPECT_EQ(lots, (std::vector<size_t>{256, 44}));
  EXPECT_EQ(result.sent_bytes, 5U);
  ASSERT_EQ(hub.storage.requests().size(), 1U);
  EXPECT_EQ(hub.storage.requests()[0].header("X-Own"), "kept");
  const std::string commit = hub.hub.requests("POST", "/api" + id + "/commit/main").at(0).body;
  EXPECT_EQ(std::count(commit.begin(), commit.end(), '\n'), 301);
}

TEST_F(PushHttp, ARepositoryThatIsPublicIsSaidToBe) {
  Reply info = hub.reply("GET", "/revision/");
  info.body.replace(info.body.find("\"private\": true"), 15, "\"private\": false");
  instead("GET", "/revision/", {info});
  EXPECT_TRUE(push().is_public);
}

}  // namespace
}  // namespace hone::hub
