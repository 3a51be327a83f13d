#include "data/source_names.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace hone::data {
namespace fs = std::filesystem;
namespace {

// The last `count` parts of a path, without the extensions of its file.
std::string tail(const fs::path& path, size_t count) {
  fs::path clean = path.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  std::string name = clean.filename().string();
  if (const size_t dot = name.find('.', 1); dot != std::string::npos) name.resize(dot);
  clean.replace_filename(name);
  const auto parts = static_cast<size_t>(std::distance(clean.begin(), clean.end()));
  fs::path result;
  for (auto part = std::next(clean.begin(), static_cast<ptrdiff_t>(parts - std::min(parts, count)));
       part != clean.end(); ++part) {
    result /= *part;
  }
  return result.string();
}

}  // namespace

std::vector<std::string> source_names(const std::vector<DatasetSource>& sources) {
  constexpr size_t kMaxParts = 16;
  std::vector<std::string> names;
  for (const DatasetSource& source : sources) {
    const auto is_alone = [&](size_t count) {
      const std::string name = tail(source.path, count);
      return std::ranges::count_if(sources, [&](const DatasetSource& other) {
               return tail(other.path, count) == name;
             }) == 1;
    };
    size_t count = 1;
    while (count < kMaxParts && !is_alone(count)) ++count;
    names.push_back(tail(source.path, count < kMaxParts ? count : 1));
  }
  std::map<std::string, int> uses, seen;
  for (const std::string& name : names) ++uses[name];
  for (size_t i = 0; i < names.size(); ++i) {
    if (uses.at(names[i]) == 1) continue;
    for (const std::string& part : {sources[i].config_name, sources[i].split}) {
      if (!part.empty()) names[i] += ":" + part;
    }
  }
  for (std::string& name : names) {
    if (const int number = ++seen[name]; number > 1) name += "#" + std::to_string(number);
  }
  return names;
}

}  // namespace hone::data
