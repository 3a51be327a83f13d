#include "trainer/identity.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

using core::Json;

Json run() {
  return Json{{"model", "abc"},
              {"data", {{"train", "k1"}, {"rows", 5}}},
              {"adapter", {{"r", 16}, {"lora_alpha", 32}}},
              {"seed", 42},
              {"max_steps", 10}};
}

TEST(Identity, SameRunHasNoDifferences) {
  EXPECT_TRUE(identity_differences(run(), run()).empty());
  EXPECT_NO_THROW(check_identity(run(), run(), "checkpoint-1"));
}

TEST(Identity, BreakingDifferencesAreRefusedInOneTable) {
  Json now = run();
  now["model"] = "xyz";
  now["adapter"]["r"] = 8;
  now["data"]["train"] = "k2";
  expect_failure(
      [&] { check_identity(run(), now, "checkpoint-7"); }, core::ErrorKind::kBadRecipe,
      {"checkpoint-7", "model", "\"abc\"", "\"xyz\"", "adapter.r", "16", "8", "data.train"});
}

TEST(Identity, HarmlessDifferencesAreAllowed) {
  Json now = run();
  now["max_steps"] = 20;
  now["learning_rate"] = 0.1;
  EXPECT_NO_THROW(check_identity(run(), now, "checkpoint-1"));
  EXPECT_EQ(identity_differences(run(), now).size(), 2u);
}

TEST(Identity, HarmlessOnesAreMarkedBesideBreakingOnes) {
  Json now = run();
  now["max_steps"] = 20;
  now["seed"] = 1;
  expect_failure([&] { check_identity(run(), now, "c"); }, core::ErrorKind::kBadRecipe,
                 {"max_steps", "(may change)"});
}

TEST(Identity, KeysOnOneSideOnlyAreDifferences) {
  Json now = run();
  now.erase("adapter");
  now["packing"] = true;
  const auto differences = identity_differences(run(), now);
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].key, "packing");
  EXPECT_EQ(differences[0].checkpoint, "(absent)");
  EXPECT_EQ(differences[1].key, "adapter.r");
  EXPECT_EQ(differences[1].now, "(absent)");
}

TEST(Identity, ObjectInsteadOfAValueIsADifference) {
  EXPECT_FALSE(identity_differences(Json{{"a", nullptr}}, Json{{"a", {{"b", 1}}}}).empty());
}

}  // namespace
}  // namespace hone::trainer
