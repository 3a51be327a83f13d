#include "launch/binding.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

namespace hone::launch {
namespace {

// Of a machine that has more cores than cpu_set_t has bits the first are seen.
constexpr int kMostCores = CPU_SETSIZE;

bool share_a_core(const std::vector<int>& a, const std::vector<int>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int core) { return std::binary_search(b.begin(), b.end(), core); });
}

std::string threads_text(const std::vector<RankPlace>& places, const std::vector<int>& ranks) {
  std::set<int> counts;
  for (const int rank : ranks) counts.insert(places[static_cast<size_t>(rank)].threads);
  std::string text = std::to_string(*counts.begin());
  if (counts.size() > 1) text += " to " + std::to_string(*counts.rbegin());
  text += *counts.rbegin() == 1 ? " thread" : " threads";
  return ranks.size() > 1 ? text + " each" : text;
}

}  // namespace

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < kMostCores; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::string cores_text(const std::vector<int>& cores) {
  std::string text;
  for (size_t i = 0; i < cores.size();) {
    size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cores[i]);
    if (last > i) text += "-" + std::to_string(cores[last]);
    i = last + 1;
  }
  return text;
}

std::vector<int> cores_of_text(const std::string& text) {
  std::vector<int> cores;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    int first = 0, last = 0;
    const char* end = part.data() + part.size();
    const auto begin = std::from_chars(part.data(), end, first);
    last = first;
    auto after = begin;
    if (begin.ec == std::errc() && begin.ptr != end && *begin.ptr == '-')
      after = std::from_chars(begin.ptr + 1, end, last);
    if (after.ec != std::errc() || after.ptr != end || first < 0 || last < first ||
        last >= kMostCores)
      return {};
    for (int core = first; core <= last; ++core) cores.push_back(core);
  }
  return cores;
}

int fair_threads(const std::vector<RankPlace>& places, size_t rank) {
  const RankPlace& mine = places[rank];
  const std::vector<int> cores = cores_of_text(mine.cores);
  const auto sharing = std::count_if(places.begin(), places.end(), [&](const RankPlace& other) {
    return other.host == mine.host &&
           (other.cores == mine.cores || share_a_core(cores, cores_of_text(other.cores)));
  });
  return std::max(
      1, static_cast<int>(cores.size() / static_cast<size_t>(std::max<ptrdiff_t>(1, sharing))));
}

std::vector<std::string> binding_lines(const std::vector<RankPlace>& places) {
  std::vector<std::string> hosts;
  std::map<std::string, std::vector<int>> ranks_of;
  for (size_t rank = 0; rank < places.size(); ++rank) {
    auto& ranks = ranks_of[places[rank].host];
    if (ranks.empty()) hosts.push_back(places[rank].host);
    ranks.push_back(static_cast<int>(rank));
  }
  std::vector<std::string> lines;
  for (const std::string& host : hosts) {
    const std::vector<int>& ranks = ranks_of[host];
    std::vector<std::string> cores;
    for (const int rank : ranks) {
      const std::string& text = places[static_cast<size_t>(rank)].cores;
      if (std::find(cores.begin(), cores.end(), text) == cores.end()) cores.push_back(text);
    }
    const bool shared = ranks.size() > 1 && cores.size() == 1;
    std::string line = host + (ranks.size() > 1 ? ": ranks " : ": rank ") + cores_text(ranks) +
                       (shared ? " share cores" : " on cores");
    for (const std::string& text : cores) line += " " + (text.empty() ? "?" : text);
    lines.push_back(line + ", " + threads_text(places, ranks));
  }
  return lines;
}

}  // namespace hone::launch
