#include "launch/binding.h"

#include <gtest/gtest.h>

namespace hone::launch {
namespace {

TEST(Binding, ListsOfCoresComeBackAsTheyWere) {
  EXPECT_EQ(cores_text({0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
  EXPECT_EQ(cores_of_text("0-2,5,7-8"), (std::vector<int>{0, 1, 2, 5, 7, 8}));
  EXPECT_EQ(cores_text({}), "");
  for (const char* text : {"", "x", "3-1", "1-", "-1", "99999999", "1;2"})
    EXPECT_TRUE(cores_of_text(text).empty()) << text;
  EXPECT_EQ(cores_of_text(cores_text(allowed_cores())), allowed_cores());
}

TEST(Binding, RanksThatShareCoresShareTheThreads) {
  const std::vector<RankPlace> shared(4, {.host = "a", .cores = "0-15"});
  EXPECT_EQ(fair_threads(shared, 2), 4);
  const std::vector<RankPlace> bound = {{.host = "a", .cores = "0-7"},
                                        {.host = "a", .cores = "8-15"}};
  EXPECT_EQ(fair_threads(bound, 1), 8);
  const std::vector<RankPlace> two_hosts = {{.host = "a", .cores = "0-7"},
                                            {.host = "b", .cores = "0-7"}};
  EXPECT_EQ(fair_threads(two_hosts, 0), 8);
  const std::vector<RankPlace> crowded(4, {.host = "a", .cores = "0-1"});
  EXPECT_EQ(fair_threads(crowded, 3), 1);
  EXPECT_EQ(fair_threads({{.host = "a", .cores = ""}}, 0), 1);
}

TEST(Binding, ALineAMachineSaysWhoRunsWhere) {
  EXPECT_EQ(binding_lines({{"a", "0-7", 8}, {"a", "8-15", 8}, {"b", "0-15", 8}, {"b", "0-15", 8}}),
            (std::vector<std::string>{"a: ranks 0-1 on cores 0-7 8-15, 8 threads each",
                                      "b: ranks 2-3 share cores 0-15, 8 threads each"}));
  EXPECT_EQ(binding_lines({{"a", "3", 1}}),
            (std::vector<std::string>{"a: rank 0 on cores 3, 1 thread"}));
  EXPECT_EQ(binding_lines({{"a", "0", 1}, {"a", "1-2", 2}}),
            (std::vector<std::string>{"a: ranks 0-1 on cores 0 1-2, 1 to 2 threads each"}));
}

}  // namespace
}  // namespace hone::launch
