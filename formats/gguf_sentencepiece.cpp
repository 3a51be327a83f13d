#include "formats/gguf_sentencepiece.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <tuple>
#include <unordered_map>

#include "core/text.h"

namespace hone::formats {
namespace {

using core::Json;
using Ids = std::unordered_map<std::string, size_t>;

struct Pair {
  size_t left = 0, right = 0;  // tokens
  size_t left_chars = 0, right_chars = 0;
  double score = 0;
};

size_t num_characters(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, std::not_fn(core::continues_character)));
}

// The ways to cut `text` into two tokens.
std::vector<Pair> pairs_of(const std::string& text, const Ids& ids) {
  std::vector<Pair> pairs;
  const size_t num_chars = num_characters(text);
  size_t chars = 1;
  for (size_t at = 1; at < text.size(); ++at) {
    if (core::continues_character(text[at])) continue;
    const auto left = ids.find(text.substr(0, at)), right = ids.find(text.substr(at));
    if (left != ids.end() && right != ids.end())
      pairs.push_back({left->second, right->second, chars, num_chars - chars});
    ++chars;
  }
  return pairs;
}

// Where in a list of merges a token is made.
struct Uses {
  size_t count = 0, last = 0;
  void add(size_t at) { ++count, last = at; }
};

std::pair<size_t, size_t> lengths_of(const std::pair<std::string, std::string>& merge) {
  return {num_characters(merge.first), num_characters(merge.second)};
}

Json replace_json(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

bool is_mark_replacement(const Json& part) {
  return part.is_object() && part.value("type", "") == "Replace" &&
         part.value("content", "") == kSpaceMark && part.contains("pattern") &&
         part["pattern"] == Json{{"String", " "}};
}

std::optional<SpaceRule> match_normalizer(const Json& normalizer) {
  if (is_mark_replacement(normalizer)) return SpaceRule{};
  if (!normalizer.is_object() || normalizer.value("type", "") != "Sequence") return std::nullopt;
  const Json parts = normalizer.value("normalizers", Json::array());
  if (parts.size() == 1 && is_mark_replacement(parts[0])) return SpaceRule{};
  if (parts.size() != 2 || !parts[0].is_object() || !is_mark_replacement(parts[1]))
    return std::nullopt;
  if (parts[0].value("type", "") != "Prepend" || parts[0].value("prepend", "") != kSpaceMark)
    return std::nullopt;
  return SpaceRule{.add_space_prefix = true};
}

std::optional<SpaceRule> match_metaspace(const Json& part) {
  if (!part.is_object() || part.value("type", "") != "Metaspace") return std::nullopt;
  if (part.value("replacement", "") != kSpaceMark || part.value("split", true)) return std::nullopt;
  const std::string scheme =
      part.value("prepend_scheme", part.value("add_prefix_space", true) ? "always" : "never");
  if (scheme == "never") return SpaceRule{};
  return SpaceRule{.add_space_prefix = true, .is_exact = false};
}

}  // namespace

std::vector<std::pair<std::string, std::string>> merges_of_scores(
    const std::vector<ScoredToken>& tokens) {
  Ids ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i].text, i);
  std::vector<Pair> all;
  for (const ScoredToken& token : tokens) {
    std::vector<Pair> pairs = pairs_of(token.text, ids);
    std::ranges::sort(pairs, {}, [](const Pair& p) { return std::pair(p.left, p.right); });
    for (Pair& pair : pairs) {
      pair.score = token.score;
      all.push_back(pair);
    }
  }
  std::ranges::stable_sort(all, std::ranges::greater(), [](const Pair& p) {
    return std::tuple(p.score, p.left_chars, p.right_chars);
  });
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(all.size());
  for (const Pair& pair : all) merges.emplace_back(tokens[pair.left].text, tokens[pair.right].text);
  return merges;
}

ScoresOfMerges scores_of_merges(const std::vector<std::string>& tokens,
                                const std::vector<std::pair<std::string, std::string>>& merges) {
  Ids ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], i);
  std::vector<Uses> uses(tokens.size());
  std::vector<size_t> joins;
  for (const auto& [left, right] : merges) {
    const auto found = ids.find(left + right);
    if (found == ids.end() || !ids.contains(left) || !ids.contains(right))
      return {{},
              "a merge needs a token that the vocabulary lacks: " + core::join({left, right}, " ")};
    uses[found->second].add(joins.size());
    joins.push_back(found->second);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (pairs_of(tokens[i], ids).size() != uses[i].count)
      return {{}, "not every pair that joins to " + tokens[i] + " is merged"};
  }
  ScoresOfMerges result{.scores = std::vector<double>(tokens.size(), 0), .problem = ""};
  double score = 0;
  for (size_t begin = 0, end = 0; begin < joins.size(); begin = end, --score) {
    // Joins whose merges lie between each other's have one score.
    for (size_t at = begin; at == begin || at < end; ++at)
      end = std::max(end, uses[joins[at]].last + 1);
    const bool is_alone = uses[joins[begin]].count == end - begin;
    for (size_t at = begin; at < end; ++at) {
      result.scores[joins[at]] = score;
      if (at > begin && !is_alone && lengths_of(merges[at]) > lengths_of(merges[at - 1])) {
        return {{}, "merges to " + tokens[joins[at]] + " stand in two places of the list"};
      }
    }
  }
  for (size_t i = 0; i < tokens.size(); ++i)
    if (uses[i].count == 0) result.scores[i] = score--;
  return result;
}

std::string byte_token(int byte) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte) & 0xFFU);
  return text;
}

Json sentencepiece_normalizer_json(bool add_space_prefix) {
  if (!add_space_prefix) return replace_json(" ", kSpaceMark);
  return {{"type", "Sequence"},
          {"normalizers", Json::array({{{"type", "Prepend"}, {"prepend", kSpaceMark}},
                                       replace_json(" ", kSpaceMark)})}};
}

Json sentencepiece_decoder_json(bool add_space_prefix) {
  Json decoders =
      Json::array({replace_json(kSpaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (add_space_prefix)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

std::optional<SpaceRule> match_space_rule(const Json& normalizer, const Json& pre_tokenizer) {
  if (pre_tokenizer.is_null()) return match_normalizer(normalizer);
  if (normalizer.is_null()) return match_metaspace(pre_tokenizer);
  return std::nullopt;
}

}  // namespace hone::formats
