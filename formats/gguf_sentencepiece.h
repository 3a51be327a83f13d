// SentencePiece BPE vocabularies: GGUF gives each token a score (tokenizer.ggml.model "llama"),
// tokenizer.json lists merges and falls back to bytes. llama.cpp joins, of all neighbours whose
// join is a token, those of the largest score.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace hone::formats {

inline constexpr const char* kSpaceMark = "\u2581";  // stands for a space inside tokens

struct ScoredToken {
  std::string text;  // UTF-8
  double score = 0;
};

// All pairs of `tokens` whose join is one of them, by descending score of the join; in the order
// that transformers' conversion gives them (generate_merges of convert_slow_tokenizer.py).
std::vector<std::pair<std::string, std::string>> merges_of_scores(
    const std::vector<ScoredToken>& tokens);

// The reverse: a score for each token, from 0 down for those that merges make, lower for the rest.
// `problem`: why no scores say the same, because merges of one score are in another order than
// above or a pair whose join is a token is not merged.
struct ScoresOfMerges {
  std::vector<double> scores;  // one a token
  std::string problem;
};
ScoresOfMerges scores_of_merges(const std::vector<std::string>& tokens,
                                const std::vector<std::pair<std::string, std::string>>& merges);

// "<0x0A>" for 10.
std::string byte_token(int byte);

// How tokenizer.json writes spaces as marks, with or without one before the text, and back.
core::Json sentencepiece_normalizer_json(bool add_space_prefix);
core::Json sentencepiece_decoder_json(bool add_space_prefix);

// What the keys "normalizer" and "pre_tokenizer" of a tokenizer.json say of spaces: true with one
// put before the text; nullopt if they are no SentencePiece's. `is_exact` false: where the text
// begins with a space, or goes on after a special token, llama.cpp puts one more.
struct SpaceRule {
  bool add_space_prefix = false;
  bool is_exact = true;
};
std::optional<SpaceRule> match_space_rule(const core::Json& normalizer,
                                          const core::Json& pre_tokenizer);

}  // namespace hone::formats
