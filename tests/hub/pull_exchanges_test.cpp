// Our pull against what huggingface_hub 2.4.0 sent for the same repository (tests/golden/hub): the
// commit and the pages of the listing are asked for with the same paths. Free: the Python client
// asks for each file by HEAD before it gets it; ours has sizes and hashes from the listing and gets
// it at once, so the recorded answer to a HEAD is given to its GET.
#include <algorithm>

#include "hub/pull_snapshot.h"
#include "tests/hub/replayed_hub.h"

namespace hone::hub {
namespace {

std::vector<std::string> api_requests(const std::vector<ServedRequest>& requests) {
  std::vector<std::string> targets;
  for (const ServedRequest& request : requests) {
    if (request.target.starts_with("/api/"))
      targets.push_back(request.method + " " + request.target);
  }
  return targets;
}

TEST(PullExchange, AsksForTheCommitAndTheListingAsThePythonClientDoes) {
  ReplayedHub replayed("pull");
  std::vector<std::string> expected;
  for (const core::Json& exchange : replayed.exchanges()) {
    const std::string method = exchange["method"], target = exchange["target"];
    if (target.starts_with("/api/")) expected.push_back(method + " " + target);
    if (method == "HEAD") replayed.hub.on("GET", target, {replayed.reply("HEAD", target)});
  }
  TemporaryFolder folder;
  const auto select = [](std::vector<std::string> paths, const ReadFile&) {
    std::erase(paths, ".gitattributes");  // the recording did not ask for it
    return paths;
  };
  const PulledSnapshot snapshot = pull_snapshot(replayed.client(), folder / "cache",
                                                {.id = replayed.id(), .revision = "main"}, select);

  EXPECT_EQ(api_requests(replayed.hub.requests()), expected);
  EXPECT_TRUE(replayed.hub.unexpected().empty());
  for (const ServedRequest& request : replayed.hub.requests())
    EXPECT_EQ(request.header("Authorization"), "Bearer " + ReplayedHub::kToken) << request.target;
  ASSERT_EQ(replayed.storage.requests().size(), 1U);
  EXPECT_FALSE(replayed.storage.requests()[0].has_header("Authorization"));
  replayed.write_folder(folder / "expected");
  for (const auto& entry : std::filesystem::directory_iterator(folder / "expected")) {
    const auto name = entry.path().filename();
    EXPECT_EQ(read_text(snapshot.folder / name), read_text(entry.path())) << name;
  }
}

}  // namespace
}  // namespace hone::hub
