#include "recipes/hub_access.h"

#include <gtest/gtest.h>

#include "recipes/dataset_sources.h"
#include "tests/hub/fake_hub.h"
#include "tests/hub/support.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

TEST(DownloadText, HasFilesBytesRateAndTimeLeft) {
  hub::PullState state{.done_bytes = 1'200'000'000,
                       .total_bytes = 4'800'000'000,
                       .num_done = 3,
                       .num_files = 9,
                       .network_bytes = 1'000'000'000};
  EXPECT_EQ(download_text(state, 10),
            "3 of 9 files, 1.2 GB of 4.8 GB (25 %), 100.0 MB/s, 36.0 s left");
  state = {.done_bytes = 5, .total_bytes = 5, .num_done = 1, .num_files = 1};
  EXPECT_EQ(download_text(state, 10), "1 of 1 file, 5 B of 5 B (100 %)")
      << "nothing over the network";
}

class DatasetSources : public ::testing::Test {
 protected:
  hub::ResolveOptions options(const hub::FakeHub& hub) const {
    const std::string url = hub.url();
    return {.store = folder / "store", .cache = folder / "cache", .connect = [url] {
              return hub::impatient_client(url);
            }};
  }
  hub::TemporaryFolder folder;
};

TEST_F(DatasetSources, AnIdBecomesAFolderWithTheFilesOfItsSplit) {
  hub::FakeHub hub(hub::RepoKind::kDataset, "org/rows",
                   {{"README.md",
                     "---\nconfigs:\n- config_name: default\n  data_files:\n"
                     "  - split: train\n    path: a.jsonl\n  - split: test\n"
                     "    path: b.jsonl\n---\n"},
                    {"a.jsonl", "1"},
                    {"b.jsonl", "2"},
                    {"c.jsonl", "3"}});
  std::vector<NamedRepo> found;
  const auto sources = fetch_datasets({{.path = "org/rows", .split = "test"}}, options(hub), found);
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].name, "org/rows");
  EXPECT_EQ(found[0].repo.commit, hub::kFakeCommit);
  EXPECT_EQ(sources[0].path, found[0].repo.folder);
  EXPECT_EQ(hub::read_text(sources[0].path / "b.jsonl"), "2");
  EXPECT_FALSE(fs::exists(sources[0].path / "a.jsonl"));
  EXPECT_FALSE(fs::exists(sources[0].path / "c.jsonl"));
}

TEST_F(DatasetSources, WhatIsOnThisDiskIsLeftAlone) {
  hub::FakeHub hub(hub::RepoKind::kDataset, "org/rows", {});
  hub::write_text(folder / "train.jsonl", "{}");
  std::vector<NamedRepo> found;
  const fs::path path = folder / "train.jsonl";
  const auto sources = fetch_datasets({{.path = path}, {.path = "x.jsonl"}}, options(hub), found);
  EXPECT_EQ(sources[0].path, path);
  EXPECT_EQ(sources[1].path, "x.jsonl");
  EXPECT_TRUE(found.empty());
  EXPECT_TRUE(hub.server().requests().empty());
}

}  // namespace
}  // namespace hone::recipes
