#include "hub/repo_id.h"

#include "tests/hub/support.h"

namespace hone::hub {
namespace {

TEST(RepoId, AcceptsWhatTheHubAccepts) {
  for (const std::string id :
       {"me/model", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b_c.d-e", "gpt2"}) {
    EXPECT_EQ(repo_id_problem(id, false), "") << id;
  }
  EXPECT_EQ(repo_id_problem("a/" + std::string(94, 'x'), true), "");
}

TEST(RepoId, RefusesNamesThatCouldLeaveTheStoreOrConfuseGit) {
  for (const std::string id :
       {"", "/", "a/", "/a", "../x", "a/..", "a/.hidden", "-a/b", "a/b-", "a/b--c", "a/b..c",
        "a/b.git", "a/b/c", "a b/c", "a\\b/c", "a/b.", "\xc3\xa9/x"}) {
    EXPECT_NE(repo_id_problem(id, false), "") << id;
    EXPECT_EQ(error_of([&] { check_repo_id(id); }).kind(), core::ErrorKind::kUsage) << id;
  }
  EXPECT_NE(repo_id_problem("a/" + std::string(95, 'x'), true), "");
  EXPECT_NE(repo_id_problem(std::string("a/b\0c", 5), true), "");
  EXPECT_NE(repo_id_problem("gpt2", true), "");
}

TEST(RepoId, RefusesBranchAndTagNamesThatLookLikeSomethingElse) {
  EXPECT_NO_THROW(check_branch_or_tag("v1.0"));
  EXPECT_NO_THROW(check_branch_or_tag("feature/x"));
  for (const std::string name :
       {"", "-f", "a..b", "a b", "x.lock", "HEAD", "refs/heads/x", "a~1", "@{1}"}) {
    EXPECT_EQ(error_of([&] { check_branch_or_tag(name); }).kind(), core::ErrorKind::kUsage) << name;
  }
  EXPECT_THROW(check_branch_or_tag(std::string(40, 'a')), core::Error);
}

TEST(RepoId, SplitsIdAndRevision) {
  EXPECT_EQ(split_revision("me/x").revision, "main");
  EXPECT_EQ(split_revision("me/x@v1").id, "me/x");
  EXPECT_EQ(split_revision("me/x@refs/pr/1").revision, "refs/pr/1");
  EXPECT_THROW(split_revision("me/x@"), core::Error);
  EXPECT_THROW(split_revision("@v1"), core::Error);
}

}  // namespace
}  // namespace hone::hub
