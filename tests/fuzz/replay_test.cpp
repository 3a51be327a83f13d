// Every seed and every input that once was a finding, through its target again, with any compiler.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/files.h"
#include "tests/fuzz/target.h"
#include "tests/support/paths.h"

namespace hone::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const std::string& kind, const std::string& target) {
  std::vector<fs::path> files;
  const fs::path folder = fs::path(test::kSourceDir) / "tests/fuzz" / kind / target;
  if (!fs::exists(folder)) return files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class Replay : public testing::TestWithParam<Target> {};

TEST_P(Replay, SeedsAndFoundCasesAreReadOrRefusedCleanly) {
  const Target& target = GetParam();
  const std::vector<fs::path> seeds = files_of("corpus", target.name);
  EXPECT_FALSE(seeds.empty());
  for (const char* kind : {"corpus", "regressions"}) {
    for (const fs::path& file : files_of(kind, target.name)) {
      SCOPED_TRACE(file.string());
      const std::string bytes = core::read_file(file);
      EXPECT_NO_THROW(target.run(bytes));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Replay, testing::ValuesIn(kTargets),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace hone::fuzz
