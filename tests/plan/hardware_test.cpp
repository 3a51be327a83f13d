#include "recipes/plan/hardware.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"

namespace hone::recipes {
namespace {

const std::string kGood =
    "description: a machine\nkind: gpu\nmemory_bytes: 1.0e+9\nreserved_bytes: 0\n"
    "bfloat16_flops: 2.0e+12\nfloat32_flops: 1.0e+12\nmatmul_share: 0.5\nattention_share: "
    "0.25\nefficiency: 0.5\n"
    "memory_bandwidth: 1.0e+12\nlink_bandwidth: 1.0e+11\nnetwork_bandwidth: 1.0e+10\n"
    "latency_seconds: 1.0e-5\nranks_per_node: 8\n";

std::string problem_of(const std::string& text) {
  try {
    parse_hardware(text, "x", "x.yaml");
  } catch (const core::Error& error) {
    EXPECT_EQ(error.exit_code(), 78);
    return error.what();
  }
  return "";
}

TEST(Hardware, EveryFileOfTheFolderIsBuiltInAndReads) {
  const std::vector<std::string> names = hardware_names();
  for (const char* name : {"h100", "h200", "a100", "l40s", "cpu"})
    EXPECT_NE(std::ranges::find(names, name), names.end()) << name;
  for (const std::string& name : names) {
    const Hardware hardware = find_hardware(name);
    EXPECT_EQ(hardware.is_gpu, name != "cpu");
    EXPECT_GT(hardware.step_flops(true), 0) << name;
    EXPECT_GT(hardware.memory_bytes, hardware.reserved_bytes) << name;
  }
}

TEST(Hardware, RatesAreSharesOfWhatTheVendorSays) {
  const Hardware hardware = parse_hardware(kGood, "x", "x.yaml");
  EXPECT_DOUBLE_EQ(hardware.step_flops(true), 0.5e12);
  EXPECT_DOUBLE_EQ(hardware.step_flops(false), 0.25e12);
  EXPECT_DOUBLE_EQ(hardware.attention_flops(true), 0.25e12);
  EXPECT_EQ(hardware.ranks_per_node, 8);
}

TEST(Hardware, AllProblemsOfAFileAreReportedWithTheirLines) {
  std::string text = kGood;
  text.replace(text.find("efficiency: 0.5"), 15, "eficiency: 0.5");
  text.replace(text.find("kind: gpu"), 9, "kind: tpu");
  text.replace(text.find("matmul_share: 0.5"), 17, "matmul_share: 50");
  const std::string problem = problem_of(text);
  for (const char* part :
       {"x.yaml:2: kind: got 'tpu', expected gpu or cpu",
        "x.yaml:7: matmul_share: got '50', expected a number from 0.001 to 1",
        "efficiency: missing", "x.yaml:9: eficiency: unknown key, did you mean 'efficiency'?"}) {
    EXPECT_NE(problem.find(part), std::string::npos) << part << " is not in\n" << problem;
  }
}

TEST(Hardware, AnUnknownNameIsWrongUsageAndTheKnownOnesAreNamed) {
  try {
    find_hardware("h10");
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.exit_code(), 64);
    EXPECT_NE(std::string(error.what()).find("h100"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hone::recipes
