// Which files of a dataset repository or folder are a split: the rules of the hub.
#pragma once

#include <string>
#include <vector>

namespace hone::data {

// `paths` are the files of the repository, relative, with "/"; `card` is the text of its README.md,
// "" if it has none. `config_name` "" is the card's default configuration, `split` "" is "train".
// Returns the files of that split, sorted. As `datasets` chooses:
//   1. the card's `configs:` (config_name, default, data_dir, data_files as a pattern, a list of
//      patterns, or a list of {split, path});
//   2. `data/{split}-NNNNN-of-NNNNN*.*`;
//   3. a folder, else 4. a file named after a split: train, training; validation, valid, val, dev;
//      test, testing, eval, evaluation, set off by one of "-._ " or a digit;
//   5. all files are "train".
// Of files of several kinds the most common kind is meant. Without `configs:`, a `config_name` is a
// folder. Throws kMissingInput naming the splits or configurations there are, kBadInput for a card
// that can't be read; `where` says what was asked ("recipe.yaml:9: owner/name").
std::vector<std::string> choose_dataset_files(const std::vector<std::string>& paths,
                                              const std::string& card,
                                              const std::string& config_name,
                                              const std::string& split, const std::string& where);

}  // namespace hone::data
