#include "hub/verbs.h"

#include "tests/hub/support.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

const std::string kId = "me/model";

class VerbsTest : public ::testing::Test {
 protected:
  VerbsTest() {
    write_model(folder / "model", 'a');
    first = push_folder(store, kId, folder / "model", {.message = "First", .tag = "v1"}).commit;
    write_model(folder / "model", 'b');
    second = push_folder(store, kId, folder / "model", {.message = "Second"}).commit;
  }
  PullResult pull_id(const std::string& id, const fs::path& output = {}) {
    return pull(id, output, RepoKind::kModel, {.store = store.root(), .cache = folder / "cache"});
  }

  TemporaryFolder folder;
  LocalStore store{folder / "hub"};
  std::string first, second;
};

TEST_F(VerbsTest, PullsAtTagAndCommit) {
  for (const std::string& revision : {std::string("v1"), first, first.substr(0, 8)}) {
    const PullResult result = pull_id(kId + "@" + revision);
    EXPECT_EQ(result.commit, first);
    EXPECT_EQ(read_text(result.folder / "model.safetensors"), weights_text('a'));
  }
  EXPECT_EQ(pull_id(kId).commit, second);
}

TEST_F(VerbsTest, AnOutputHoldsFilesOfItsOwn) {
  const fs::path output = folder / "out" / "deep";
  const PullResult result = pull_id(kId, output);
  EXPECT_EQ(result.folder, output);
  EXPECT_EQ(result.files.size(), 5U);
  EXPECT_EQ(fs::hard_link_count(output / "model.safetensors"), 1U);
  write_text(output / "model.safetensors", "changed");
  EXPECT_EQ(read_text(pull_id(kId).folder / "model.safetensors"), weights_text('b'));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "out"), {}), 1);
}

TEST_F(VerbsTest, AnOutputThatHoldsFilesIsLeftAlone) {
  write_text(folder / "out" / "mine.txt", "x");
  EXPECT_EQ(error_of([&] { pull_id(kId, folder / "out"); }).kind(), ErrorKind::kCannotCreate);
  EXPECT_EQ(read_text(folder / "out" / "mine.txt"), "x");
  fs::create_directories(folder / "empty");
  EXPECT_EQ(pull_id(kId, (folder / "empty").string() + "/").files.size(), 5U);
  EXPECT_EQ(read_text(folder / "empty" / "model.safetensors"), weights_text('b'));
}

TEST_F(VerbsTest, ListsRepositoriesFilesAndHistory) {
  const HubListing all = list_hub(store);
  ASSERT_EQ(all.models.size(), 1U);
  EXPECT_EQ(all.models[0].head, second);
  EXPECT_TRUE(all.datasets.empty());
  const HubListing one = list_hub(store, kId + "@v1");
  EXPECT_EQ(one.commit, first);
  EXPECT_EQ(one.files.size(), 5U);
  const auto history = list_history(store, kId);
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].commit.title, "Second");
  EXPECT_EQ(history[0].branches, std::vector<std::string>{"main"});
  EXPECT_EQ(history[1].tags, std::vector<std::string>{"v1"});
  EXPECT_EQ(history[1].commit.id, first);
}

TEST_F(VerbsTest, AnEmptyHubListsNothing) {
  const LocalStore other(folder / "absent");
  EXPECT_TRUE(list_hub(other).models.empty());
  EXPECT_TRUE(other.users().empty());
  EXPECT_FALSE(fs::exists(folder / "absent"));
}

}  // namespace
}  // namespace hone::hub
