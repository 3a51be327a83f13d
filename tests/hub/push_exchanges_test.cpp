// Our pushes against what huggingface_hub 2.4.0 sent for the same folder (tests/golden/hub): the
// same requests with the same bodies, byte for byte, and the same Authorization, Content-Type and,
// where the protocol names one, Accept. Free: User-Agent, Accept-Encoding (ours is identity),
// "Accept: */*", and the order of requests that run at the same time.
#include <algorithm>

#include "hub/push_http.h"
#include "tests/hub/replayed_hub.h"

namespace hone::hub {
namespace {

struct Scenario {
  std::string name;
  PushOptions options;
  // Requests of the Python client that ours has no need of: large files the repository holds
  // already, and the head it has just read.
  std::vector<std::string> not_sent;
};

void expect_same_headers(const ReplayedHub& hub, const core::Json& recorded,
                         const ServedRequest& sent, const std::string& what) {
  for (const std::string name : {"Authorization", "Content-Type", "Accept"}) {
    const std::string expected = recorded.value(name, std::string());
    if (name == "Accept" && expected == "*/*") continue;
    EXPECT_EQ(hub.plain(sent.header(name)), expected) << what << ": " << name;
  }
}

void expect_same_requests(ReplayedHub& replayed, const std::vector<std::string>& not_sent) {
  std::vector<ServedRequest> of_hub = replayed.hub.requests();
  std::vector<ServedRequest> of_storage = replayed.storage.requests();
  for (const core::Json& exchange : replayed.exchanges()) {
    const std::string method = exchange["method"], target = replayed.live(exchange["target"]);
    const std::string what = method + " " + target;
    auto& requests = exchange["server"] == "hub" ? of_hub : of_storage;
    const auto sent = std::find_if(requests.begin(), requests.end(), [&](const auto& request) {
      return request.method == method && request.target == target;
    });
    if (sent == requests.end()) {
      EXPECT_TRUE(std::find(not_sent.begin(), not_sent.end(), what) != not_sent.end())
          << what << " was not sent";
      continue;
    }
    EXPECT_EQ(replayed.plain(sent->body), exchange["request"]["body"].get<std::string>()) << what;
    expect_same_headers(replayed, exchange["request"]["headers"], *sent, what);
    requests.erase(sent);
  }
  for (const auto& requests : {of_hub, of_storage}) {
    for (const ServedRequest& extra : requests)
      ADD_FAILURE() << extra.method << " " << extra.target << " is not in the recording";
  }
}

class PushExchanges : public ::testing::TestWithParam<Scenario> {};

TEST_P(PushExchanges, AreThoseOfThePythonClient) {
  const Scenario& scenario = GetParam();
  ReplayedHub replayed(scenario.name);
  TemporaryFolder folder;
  replayed.write_folder(folder / "tiny");
  const PushResult result =
      push_folder(replayed.client(), replayed.id(), folder / "tiny", scenario.options);
  expect_same_requests(replayed, scenario.not_sent);
  EXPECT_EQ(result.changed, scenario.name != "push_unchanged");
  EXPECT_FALSE(result.is_public);
  EXPECT_EQ(result.removed, scenario.name == "push_again"
                                ? std::vector<std::string>{"old.safetensors"}
                                : std::vector<std::string>{});
  EXPECT_EQ(result.sent_bytes,
            scenario.name == "push_resumed" || scenario.name == "push_unchanged" ? 0U : 2500U);
  EXPECT_EQ(replayed.plain(result.pull_request),
            scenario.options.create_pr ? "$HUB/ada/tiny/discussions/1" : "");
  const std::string commit_answer = result.changed ? replayed.reply("POST", "/commit/").body
                                                   : replayed.reply("GET", "/revision/").body;
  EXPECT_NE(commit_answer.find(result.commit), std::string::npos) << result.commit;
  EXPECT_EQ(result.commit.size(), 40U);
}

INSTANTIATE_TEST_SUITE_P(
    All, PushExchanges,
    ::testing::Values(Scenario{"push_new", {.message = "Fine-tune", .tag = "v1"}, {}},
                      Scenario{"push_multipart", {.message = "Fine-tune"}, {}},
                      Scenario{"push_again", {.message = "Fine-tune"}, {}},
                      Scenario{"push_unchanged",
                               {.message = "Fine-tune"},
                               {"POST /ada/tiny.git/info/lfs/objects/batch",
                                "GET /api/models/ada/tiny/revision/main"}},
                      Scenario{"push_resumed", {.message = "Fine-tune"}, {}},
                      Scenario{"push_branch", {.message = "Fine-tune", .branch = "feature/x"}, {}},
                      Scenario{
                          "push_pull_request", {.message = "Fine-tune", .create_pr = true}, {}}),
    [](const auto& info) { return info.param.name; });

TEST(PushExchange, ARepositoryOfADatasetAndAPublicOneAreAskedForAsThePythonClientDoes) {
  ReplayedHub replayed("create_repo");
  const core::Json& exchanges = replayed.exchanges();
  TemporaryFolder folder;
  write_text(folder / "data" / "train.jsonl", "{}\n");
  // The recording ends where a repository is made, so the push fails at its next question.
  error_of([&] {
    push_folder(replayed.client(), replayed.id(), folder / "data",
                {.kind = RepoKind::kDataset, .is_private = false, .also_allow = {"*.jsonl"}});
  });
  ASSERT_EQ(exchanges.size(), 3U);
  EXPECT_EQ(replayed.hub.requests()[0].body, exchanges[2]["request"]["body"].get<std::string>());
}

TEST(PushExchange, AnIdWithoutOwnerIsTheUsersOwn) {
  ReplayedHub replayed("push_new");
  const ReplayedHub whoami("whoami");
  replayed.hub.on("GET", "/api/whoami-v2", {whoami.reply("GET", "whoami")});
  TemporaryFolder folder;
  replayed.write_folder(folder / "tiny");
  const PushResult result =
      push_folder(replayed.client(), "tiny", folder / "tiny", {.message = "Fine-tune"});
  EXPECT_EQ(result.repo_id, "ada/tiny");
  EXPECT_EQ(replayed.hub.requests()[0].header("Authorization"), "Bearer " + ReplayedHub::kToken);
  EXPECT_TRUE(replayed.hub.unexpected().empty());
}

}  // namespace
}  // namespace hone::hub
