// The layouts, models and ways to compute of which steps are compared with those of one rank.
#include <algorithm>

#include "tests/trainer/ranks_case.h"

namespace hone::trainer {
namespace {

// Every axis alone and with others, on models that it does not divide evenly.
void add_split_cases(std::vector<RanksCase>& cases) {
  struct Split {
    parallel::Layout layout;
    std::string model;
    int64_t chunks = 1;
  };
  std::vector<Split> splits{
      {{.tp = 2}, "tiny-chat"},
      {{.tp = 2}, "made/eight"},
      {{.tp = 3}, "made/nine"},
      {{.tp = 3}, "made/nine_tied"},
      {{.tp = 4}, "made/eight_tied"},
      {{.cp = 2}, "made/eight"},
      {{.cp = 3}, "made/nine_tied"},
      {{.cp = 4}, "tiny-chat"},
      {{.dp_replicate = 2, .tp = 2}, "made/eight"},
      {{.dp_shard = 2, .tp = 2}, "made/eight_tied"},
      {{.dp_shard = 2, .cp = 2}, "made/eight"},
      {{.cp = 2, .tp = 2}, "made/eight_tied"},
      {{.pp = 2}, "made/eight"},
      {{.pp = 2}, "tiny-chat"},
      {{.pp = 3}, "made/nine_tied"},
      {{.pp = 2}, "made/eight_tied", 2},
      {{.tp = 2, .pp = 2}, "made/eight_tied"},
      {{.dp_shard = 2, .pp = 2}, "made/eight_tied", 2},
      {{.dp_replicate = 2, .pp = 2}, "made/eight"},
      {{.cp = 2, .tp = 2, .pp = 2}, "made/eight_tied"},
  };
  for (const char* variant : {"made/eight_bias", "made/eight_norm_tied", "made/eight_window"})
    splits.push_back({{.cp = 2, .tp = 2}, variant});
  for (const Split& split : splits) {
    for (const bool lora : {false, true}) {
      for (const bool recompute : {false, true}) {
        cases.push_back({.layout = split.layout,
                         .lora = lora,
                         .rounds = recompute ? 2 : 1,
                         .recompute = recompute,
                         .model = split.model,
                         .chunks = split.chunks,
                         .lora_everywhere = lora && recompute});
      }
    }
  }
}

// Products of the tensor axis in chunks of rows; with more chunks than a rank may have rows.
void add_chunked_cases(std::vector<RanksCase>& cases) {
  std::vector<RanksCase> chunked{
      {.layout = {.tp = 2}, .model = "made/eight_bias", .row_chunks = 2},
      {.layout = {.tp = 3}, .model = "made/nine", .row_chunks = 4},
      {.layout = {.tp = 3}, .model = "made/nine_tied", .row_chunks = 40},
      {.layout = {.cp = 2, .tp = 2}, .model = "made/eight_tied", .row_chunks = 3},
      {.layout = {.tp = 2, .pp = 2}, .model = "made/eight", .row_chunks = 4},
      {.layout = {.dp_shard = 2, .tp = 2}, .model = "made/eight_tied", .row_chunks = 2}};
  for (const RanksCase& one : chunked) {
    for (const bool lora : {false, true}) {
      cases.push_back(one);
      cases.back().lora = lora;
      cases.back().recompute = lora;
    }
  }
}

// Attention in chunks of heads: with as many key/value heads as query heads, so that there are
// chunks of several, and with three for twelve, which two or four ranks share so that a rank has
// parts of a group. Also with more chunks than there are key/value heads.
void add_head_chunk_cases(std::vector<RanksCase>& cases) {
  const std::vector<RanksCase> chunked{
      {.layout = {.cp = 2}, .model = "made/eight_mha", .head_chunks = 3},
      {.layout = {.cp = 2}, .model = "made/twelve", .head_chunks = 2},
      {.layout = {.cp = 3}, .model = "made/nine_mha_tied", .head_chunks = 2},
      {.layout = {.cp = 4}, .model = "made/twelve_tied", .head_chunks = 8},
      {.layout = {.cp = 2, .tp = 2}, .model = "made/twelve", .row_chunks = 3, .head_chunks = 3},
      {.layout = {.cp = 2, .tp = 2},
       .model = "made/eight_mha_norm_tied",
       .row_chunks = 2,
       .head_chunks = 2},
      {.layout = {.dp_shard = 2, .cp = 2}, .model = "made/eight_mha_window", .head_chunks = 2},
      {.layout = {.cp = 2, .pp = 2}, .model = "made/eight_mha_bias", .head_chunks = 4}};
  for (const RanksCase& one : chunked) {
    for (const bool lora : {false, true}) {
      for (const bool recompute : {false, true}) {
        cases.push_back(one);
        cases.back().lora = lora;
        cases.back().recompute = recompute;
        cases.back().rounds = recompute ? 2 : 1;
      }
    }
  }
}

}  // namespace

std::vector<RanksCase> all_ranks_cases() {
  std::vector<RanksCase> cases;
  add_split_cases(cases);
  add_chunked_cases(cases);
  add_head_chunk_cases(cases);
  std::vector<RanksCase> layouts;
  for (const int64_t ranks : {2, 4}) {
    layouts.push_back({.layout = {.dp_replicate = ranks}});
    for (const int64_t level : {1, 2, 3})
      layouts.push_back({.layout = {.dp_shard = ranks}, .level = level});
  }
  for (const int64_t level : {1, 2, 3})
    layouts.push_back({.layout = {.dp_replicate = 2, .dp_shard = 2}, .level = level});
  for (const RanksCase& layout : layouts) {
    for (const bool lora : {false, true}) {
      for (const int64_t rounds : {1, 3}) {
        for (const bool strict : {false, true}) {
          RanksCase one = layout;
          one.lora = lora;
          one.rounds = rounds;
          one.strict = strict;
          one.recompute = rounds == 3;
          cases.push_back(one);
        }
      }
    }
  }
  for (RanksCase more : layouts) {
    more.overlap = true;
    cases.push_back(more);
    more.overlap = false;
    more.bfloat16 = more.strict = true;
    cases.push_back(more);
    more.lora = true;
    cases.push_back(more);
  }
  // A head of its own; an adapter of the embedding, whose backward reads it.
  for (RanksCase more : layouts) {
    more.model = "models/llama_untied_llama3rope";
    more.strict = true;
    cases.push_back(more);
    more.lora = more.lora_everywhere = true;
    cases.push_back(more);
  }
  // Three ranks cut stages and rounds where nothing is even.
  for (const int64_t level : {1, 2, 3}) {
    cases.push_back({.layout = {.dp_shard = 3}, .level = level, .rounds = 3});
    cases.push_back({.layout = {.dp_shard = 3}, .level = level, .lora = true, .rounds = 1});
  }
  return cases;
}

const RanksCase* find_ranks_case(const std::vector<RanksCase>& cases, const std::string& name) {
  const auto found =
      std::ranges::find_if(cases, [&](const RanksCase& c) { return c.name() == name; });
  return found == cases.end() ? nullptr : &*found;
}

}  // namespace hone::trainer
