// The `configs:` of a dataset card.
#pragma once

#include <string>
#include <vector>

namespace hone::data {

struct SplitPatterns {
  std::string split;
  std::vector<std::string> patterns;
};

struct DatasetConfig {
  std::string name;
  bool is_default = false;
  std::string data_dir;
  std::vector<SplitPatterns> splits;  // of data_files; empty: inferred from the names of files
};

// Those of the YAML between the card's `---` lines; none if it has no front matter or no `configs`.
// Throws kBadInput with `where` and the line.
std::vector<DatasetConfig> read_dataset_configs(const std::string& card, const std::string& where);

}  // namespace hone::data
