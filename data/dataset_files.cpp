#include "data/dataset_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/text.h"
#include "data/dataset_card.h"
#include "data/file_type.h"
#include "data/glob.h"

namespace hone::data {
namespace {

using core::ErrorKind;
using SplitFiles = std::map<std::string, std::vector<std::string>>;

struct Keyword {
  std::string_view word, split;
};
constexpr std::array kKeywords = {Keyword{"train", "train"},
                                  Keyword{"training", "train"},
                                  Keyword{"validation", "validation"},
                                  Keyword{"valid", "validation"},
                                  Keyword{"dev", "validation"},
                                  Keyword{"val", "validation"},
                                  Keyword{"test", "test"},
                                  Keyword{"testing", "test"},
                                  Keyword{"eval", "test"},
                                  Keyword{"evaluation", "test"}};

bool is_separator(char c) {
  return std::string_view("-._ 0123456789").find(c) != std::string_view::npos;
}

// The word set off by separators. In the name of a file one must follow; the name of a folder may
// end with the word.
bool names_keyword(std::string_view name, std::string_view word, bool is_folder) {
  for (size_t at = name.find(word); at != std::string_view::npos; at = name.find(word, at + 1)) {
    const size_t end = at + word.size();
    if (at > 0 && !is_separator(name[at - 1])) continue;
    if (end == name.size() ? is_folder : is_separator(name[end])) return true;
  }
  return false;
}

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
    parts.push_back(path.substr(0, slash));
    path.remove_prefix(slash + 1);
  }
  parts.push_back(path);
  return parts;
}

// How many parts `datasets` leaves alone unless a pattern names them: hidden ones, and folders that
// begin with two underscores.
size_t count_special(std::string_view path) {
  size_t count = 0;
  const auto parts = parts_of(path);
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool hidden = parts[i].starts_with(".") && parts[i] != "." && parts[i] != "..";
    if (hidden || (i + 1 < parts.size() && parts[i].starts_with("__"))) ++count;
  }
  return count;
}

// "train" of "data/train-00000-of-00002-abc.parquet".
std::optional<std::string> shard_split(const std::string& path) {
  static const std::string kFive = "[0-9][0-9][0-9][0-9][0-9]";
  static const std::string kShard = "*-" + kFive + "-of-" + kFive + "*";
  if (!glob_matches("data/" + kShard + ".*", path)) return std::nullopt;
  const std::string name = path.substr(5);
  for (size_t of = name.find("-of-"); of != std::string::npos; of = name.find("-of-", of + 1)) {
    if (of >= 7 && glob_matches(kShard, name.substr(0, of + 9))) return name.substr(0, of - 6);
  }
  return std::nullopt;
}

SplitFiles by_shards(const std::vector<std::string>& files) {
  SplitFiles splits;
  for (const std::string& file : files) {
    if (const auto split = shard_split(file)) splits[*split].push_back(file);
  }
  return splits;
}

// A name that holds words of two splits belongs to both.
SplitFiles by_keyword(const std::vector<std::string>& files, bool in_folders) {
  SplitFiles splits;
  for (const std::string& file : files) {
    std::vector<std::string_view> names = parts_of(file);
    if (in_folders) {
      names.pop_back();
    } else {
      names = {names.back()};
    }
    std::set<std::string_view> named;
    for (const Keyword& known : kKeywords) {
      for (const std::string_view name : names) {
        if (names_keyword(name, known.word, in_folders)) named.insert(known.split);
      }
    }
    for (const std::string_view split : named) splits[std::string(split)].push_back(file);
  }
  return splits;
}

SplitFiles infer_splits(const std::vector<std::string>& files) {
  if (SplitFiles splits = by_shards(files); !splits.empty()) return splits;
  if (SplitFiles splits = by_keyword(files, true); !splits.empty()) return splits;
  if (SplitFiles splits = by_keyword(files, false); !splits.empty()) return splits;
  if (files.empty()) return {};
  return {{"train", files}};
}

std::vector<std::string> matching(const std::vector<std::string>& files,
                                  const std::vector<std::string>& patterns) {
  std::set<std::string> chosen;
  for (const std::string& pattern : patterns) {
    for (const std::string& file : files) {
      if (count_special(file) == count_special(pattern) && glob_matches(pattern, file))
        chosen.insert(file);
    }
  }
  return {chosen.begin(), chosen.end()};
}

std::string join_folder(std::string folder, const std::string& name) {
  while (folder.ends_with("/")) folder.pop_back();
  if (folder.starts_with("./")) folder.erase(0, 2);
  return folder.empty() || folder == "." ? name : folder + "/" + name;
}

// The splits of the files below a folder, inferred from the part of their paths inside it.
SplitFiles splits_below(const std::vector<std::string>& files, const std::string& folder) {
  const std::string prefix = join_folder(folder, "");
  std::vector<std::string> inside;
  for (const std::string& file : files) {
    if (file.starts_with(prefix)) inside.push_back(file.substr(prefix.size()));
  }
  SplitFiles splits = infer_splits(inside);
  for (auto& [name, paths] : splits) {
    for (std::string& path : paths) path.insert(0, prefix);
  }
  return splits;
}

const DatasetConfig& pick_config(const std::vector<DatasetConfig>& configs, const std::string& name,
                                 const std::string& where) {
  std::vector<std::string> names;
  for (const DatasetConfig& config : configs) {
    if (name.empty() ? config.is_default : config.name == name) return config;
    names.push_back(config.name);
  }
  if (name.empty()) {
    for (const DatasetConfig& config : configs) {
      if (configs.size() == 1 || config.name == "default") return config;
    }
  }
  core::fail(ErrorKind::kMissingInput,
             {.what = name.empty() ? "the dataset has several configurations and no default"
                                   : "the dataset has no configuration \"" + name + "\"",
              .where = where,
              .expected = "name: one of " + core::join(names, ", "),
              .hint = core::did_you_mean(name, names)});
}

SplitFiles splits_of_config(const DatasetConfig& config, const std::vector<std::string>& all,
                            const std::vector<std::string>& plain) {
  if (config.splits.empty()) return splits_below(plain, config.data_dir);
  SplitFiles splits;
  for (const SplitPatterns& entry : config.splits) {
    std::vector<std::string> patterns;
    for (const std::string& pattern : entry.patterns)
      patterns.push_back(join_folder(config.data_dir, pattern));
    splits[entry.split] = matching(all, patterns);
  }
  return splits;
}

// Files of the kind that most files are; a draw goes as in `datasets`.
std::vector<std::string> most_common_kind(const std::vector<std::string>& files) {
  static constexpr std::array<std::string_view, 7> kPreference = {
      ".txt", ".tsv", ".ndjson", ".csv", ".json", ".jsonl", ".parquet"};
  std::map<std::string, int> counts;
  for (const std::string& file : files) ++counts[file_type_of(file)->extension];
  std::string best;
  for (const std::string_view extension : kPreference) {
    const std::string key(extension);
    if (counts.contains(key) && (best.empty() || counts[key] >= counts[best])) best = key;
  }
  std::vector<std::string> chosen;
  for (const std::string& file : files) {
    if (file_type_of(file)->kind == file_type_of("x" + best)->kind) chosen.push_back(file);
  }
  return chosen;
}

[[noreturn]] void fail_empty(const std::vector<std::string>& paths, const std::string& where) {
  const bool arrow =
      std::ranges::any_of(paths, [](const std::string& path) { return path.ends_with(".arrow"); });
  core::fail(
      ErrorKind::kMissingInput,
      {.what = "no data files",
       .where = where,
       .expected = known_extensions(),
       .hint = arrow ? ".arrow files are not read: write them with Dataset.to_parquet" : ""});
}

SplitFiles all_splits(const std::vector<std::string>& files, const std::string& card,
                      const std::string& config_name, const std::string& where) {
  std::vector<std::string> plain;
  std::ranges::copy_if(files, std::back_inserter(plain),
                       [](const std::string& file) { return count_special(file) == 0; });
  const std::vector<DatasetConfig> configs = read_dataset_configs(card, where);
  if (!configs.empty()) {
    return splits_of_config(pick_config(configs, config_name, where), files, plain);
  }
  if (config_name.empty() || config_name == "default") return infer_splits(plain);
  SplitFiles splits = splits_below(plain, config_name);
  if (splits.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "the dataset has no configuration \"" + config_name + "\"",
                .where = where,
                .hint = "its card lists none, and it has no such folder: leave `name` out"});
  }
  return splits;
}

}  // namespace

std::vector<std::string> choose_dataset_files(const std::vector<std::string>& paths,
                                              const std::string& card,
                                              const std::string& config_name,
                                              const std::string& split, const std::string& where) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (file_type_of(path)) files.push_back(path);
  }
  if (files.empty()) fail_empty(paths, where);
  std::ranges::sort(files);
  const SplitFiles splits = all_splits(files, card, config_name, where);
  const std::string wanted = split.empty() ? "train" : split;
  const auto found = splits.find(wanted);
  if (found != splits.end() && !found->second.empty()) return most_common_kind(found->second);
  std::vector<std::string> names;
  for (const auto& [name, list] : splits) {
    if (!list.empty()) names.push_back(name);
  }
  const bool sliced = wanted.find_first_of("[+") != std::string::npos;
  core::fail(ErrorKind::kMissingInput,
             {.what = "no split \"" + wanted + "\"",
              .where = where,
              .expected = "split: one of " + core::join(names, ", "),
              .hint = sliced ? "a split is one name; max_rows takes its first rows" : ""});
}

}  // namespace hone::data
