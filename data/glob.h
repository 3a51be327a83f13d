// Shell patterns over slash-separated paths, as the hub's dataset cards and recipes write them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hone::data {

// Whether `text` holds one of `*?[`.
bool is_glob(std::string_view text);

// `*` and `?` stay within a path component, `[a-z]` and `[!a-z]` are sets of characters, a
// component
// `**` stands for any number of components. As fsspec (which `datasets` uses), a `**` at the end
// needs at least one. Runs in the product of the lengths at most.
bool glob_matches(std::string_view pattern, std::string_view path);

// The regular files that match, sorted; the folder that is searched is the longest part of the
// pattern without wildcards. Hidden files and folders match only patterns that name them.
std::vector<std::filesystem::path> expand_glob(const std::string& pattern);

// That folder: "data" of "data/*/x.jsonl", "" of "*.jsonl".
std::string glob_root(const std::string& pattern);

// Regular files below `folder` as sorted relative paths with "/". Hidden ones are left out unless
// `with_hidden`; folders that can't be read are an error (kIo).
std::vector<std::string> list_files(const std::filesystem::path& folder, bool with_hidden = false);

}  // namespace hone::data
