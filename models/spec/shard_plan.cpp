#include "models/spec/shard_plan.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"

namespace hone::models {
namespace {

using core::ErrorKind;
using core::fail;
using parallel::ElementRange;
using parallel::Slicer;
using parallel::TensorSlice;

enum class Cut { kOutputs, kInputs, kLookup, kNothing };
enum class Along { kHeads, kKvHeads, kIntermediate, kVocabulary, kNothing };

struct ModuleRule {
  std::string_view name;  // the last part of the module's path
  Cut cut;
  Along along;
};

constexpr std::array<ModuleRule, 9> kMatrices{{
    {"embed_tokens", Cut::kLookup, Along::kVocabulary},
    {"q_proj", Cut::kOutputs, Along::kHeads},
    {"k_proj", Cut::kOutputs, Along::kKvHeads},
    {"v_proj", Cut::kOutputs, Along::kKvHeads},
    {"o_proj", Cut::kInputs, Along::kHeads},
    {"gate_proj", Cut::kOutputs, Along::kIntermediate},
    {"up_proj", Cut::kOutputs, Along::kIntermediate},
    {"down_proj", Cut::kInputs, Along::kIntermediate},
    {"lm_head", Cut::kOutputs, Along::kVocabulary},
}};

constexpr std::array<std::string_view, 5> kNorms{"input_layernorm", "post_attention_layernorm",
                                                 "q_norm", "k_norm", "norm"};

constexpr int64_t kWhole = -1;

// The dim that is cut of a tensor of the module, kWhole where none is.
int64_t cut_dim(Cut cut, std::string_view tensor) {
  const bool is_output = tensor == "weight" || tensor == "bias" || tensor == "lora_B";
  switch (cut) {
    case Cut::kOutputs:
      return is_output ? 0 : kWhole;
    case Cut::kInputs:
      return tensor == "weight" || tensor == "lora_A" ? 1 : kWhole;
    // [V, D] = A^T B^T: its rows are the columns of A.
    case Cut::kLookup:
      return tensor == "weight" ? 0 : tensor == "lora_A" ? 1 : kWhole;
    case Cut::kNothing:
      return kWhole;
  }
  return kWhole;
}

[[noreturn]] void fail_unknown(std::string_view module) {
  std::string known;
  for (const ModuleRule& rule : kMatrices) known += std::string(rule.name) + ", ";
  for (const std::string_view norm : kNorms) known += std::string(norm) + ", ";
  known.resize(known.size() - 2);
  fail(ErrorKind::kBadRecipe, {.what = "the shard plan does not know module " + std::string(module),
                               .expected = "one of " + known});
}

ModuleRule rule_of(std::string_view module, std::string_view tensor) {
  const std::string_view name = module.substr(module.rfind('.') + 1);
  const auto* rule = std::ranges::find(kMatrices, name, &ModuleRule::name);
  if (rule != kMatrices.end()) return *rule;
  const bool is_norm = std::ranges::find(kNorms, name) != kNorms.end();
  if (is_norm && tensor == "weight") return {name, Cut::kNothing, Along::kNothing};
  fail_unknown(module);
}

int64_t heads_per_rank(const ModelSpec& spec, int64_t count) {
  if (spec.num_heads % count != 0) {
    fail(ErrorKind::kInternal,
         {.what = "heads that do not divide evenly",
          .got = std::to_string(spec.num_heads) + " / " + std::to_string(count)});
  }
  return spec.num_heads / count;
}

// The KV head of the model that its query head `head` uses.
int64_t kv_head_of(const ModelSpec& spec, int64_t head) {
  return head / (spec.num_heads / spec.num_kv_heads);
}

ElementRange kv_heads(const ModelSpec& spec, const Slicer& slicer) {
  const int64_t heads = heads_per_rank(spec, slicer.count), first = slicer.index * heads;
  return {kv_head_of(spec, first), kv_head_of(spec, first + heads - 1) + 1};
}

ElementRange even_part(int64_t size, const Slicer& slicer) {
  return {size * slicer.index / slicer.count, size * (slicer.index + 1) / slicer.count};
}

// Of the outputs or inputs of a module. Begins and ends never fall from one rank to the next.
ElementRange range_of(const ModelSpec& spec, Along along, const Slicer& slicer) {
  const auto elements = [&](ElementRange heads) {
    return ElementRange{heads.begin * spec.head_dim, heads.end * spec.head_dim};
  };
  switch (along) {
    case Along::kHeads:
      heads_per_rank(spec, slicer.count);
      return elements(even_part(spec.num_heads, slicer));
    case Along::kKvHeads:
      return elements(kv_heads(spec, slicer));
    case Along::kIntermediate:
      return even_part(spec.intermediate_size, slicer);
    case Along::kVocabulary:
      return even_part(spec.vocab_size, slicer);
    case Along::kNothing:
      break;
  }
  fail(ErrorKind::kInternal, {.what = "a module that is not cut has no range"});
}

bool groups_fit(const ModelSpec& spec, int64_t first_head, int64_t num_heads, int64_t group) {
  for (int64_t head = first_head; head < first_head + num_heads; head += group) {
    if (kv_head_of(spec, head) != kv_head_of(spec, head + group - 1)) return false;
  }
  return true;
}

void check_heads(const ModelSpec& spec, const parallel::Layout& layout,
                 std::vector<ShardPlanProblem>& problems) {
  const std::string heads = "num_attention_heads " + std::to_string(spec.num_heads) + " / ";
  const std::string tp = "tensor_parallel_size " + std::to_string(layout.tp);
  if (const int64_t left = spec.num_heads % layout.tp; left != 0) {
    problems.push_back({"tensor_parallel_size", heads + tp + " leaves " + std::to_string(left) +
                                                    ": query heads must divide evenly"});
  }
  const int64_t ranks = layout.tp * layout.cp;
  if (const int64_t left = spec.num_heads % ranks; layout.cp > 1 && left != 0) {
    problems.push_back(
        {"context_parallel_size",
         heads + "(" + tp + " x context_parallel_size " + std::to_string(layout.cp) + ") leaves " +
             std::to_string(left) +
             ": the ranks exchange query heads for tokens, so they must divide evenly"});
  }
}

void check_size(const char* name, int64_t size, const parallel::Layout& layout,
                std::vector<ShardPlanProblem>& problems) {
  if (size >= layout.tp) return;
  problems.push_back({"tensor_parallel_size", std::string(name) + " " + std::to_string(size) +
                                                  " is less than tensor_parallel_size " +
                                                  std::to_string(layout.tp)});
}

void check_chunks(const ModelSpec& spec, const parallel::Layout& layout, int64_t chunks_per_rank,
                  std::vector<ShardPlanProblem>& problems) {
  if (layout.pp == 1) return;
  const int64_t chunks = layout.pp * chunks_per_rank;
  if (chunks <= spec.num_layers()) return;
  problems.push_back(
      {"pipeline_parallel_size", "pipeline_parallel_size " + std::to_string(layout.pp) + " x " +
                                     std::to_string(chunks_per_rank) +
                                     (chunks_per_rank == 1 ? " chunk = " : " chunks = ") +
                                     std::to_string(chunks) + " is more than the model's " +
                                     std::to_string(spec.num_layers()) + " layers"});
}

}  // namespace

TensorSlice slice_of(const ModelSpec& spec, const std::string& key,
                     const std::vector<int64_t>& shape, const Slicer& slicer) {
  const size_t dot = key.rfind('.');
  const std::string_view module = std::string_view(key).substr(0, dot);
  const std::string_view tensor =
      dot == std::string::npos ? std::string_view() : std::string_view(key).substr(dot + 1);
  const ModuleRule rule = rule_of(module, tensor);
  const int64_t dim = cut_dim(rule.cut, tensor);
  if (dim == kWhole) return parallel::whole_slice(shape, slicer);
  const int64_t index = slicer.index, count = slicer.count;
  TensorSlice slice{.dim = dim, .range = range_of(spec, rule.along, slicer)};
  slice.owned = slice.range;
  if (index > 0) {
    const ElementRange before = range_of(spec, rule.along, {index - 1, count});
    slice.owned.begin = std::max(slice.range.begin, before.end);
    slice.is_shared = before.end > slice.range.begin;
  }
  if (index + 1 < count) {
    const ElementRange after = range_of(spec, rule.along, {index + 1, count});
    slice.is_shared = slice.is_shared || after.begin < slice.range.end;
  }
  return slice;
}

LocalHeads local_heads(const ModelSpec& spec, const Slicer& slicer, int64_t cp) {
  const int64_t heads = heads_per_rank(spec, slicer.count);
  heads_per_rank(spec, slicer.count * cp);
  const ElementRange kv = kv_heads(spec, slicer);
  LocalHeads local{.num_heads = heads,
                   .num_kv_heads = kv.size(),
                   .first_head = slicer.index * heads,
                   .first_kv_head = kv.begin};
  local.group = heads / cp;
  while ((heads / cp) % local.group != 0 ||
         !groups_fit(spec, local.first_head, heads, local.group)) {
    --local.group;
  }
  for (int64_t head = 0; head < heads; head += local.group) {
    local.kv_of_group.push_back(kv_head_of(spec, local.first_head + head) - kv.begin);
  }
  return local;
}

std::vector<ShardPlanProblem> shard_plan_problems(const ModelSpec& spec,
                                                  const parallel::Layout& layout,
                                                  int64_t chunks_per_rank) {
  std::vector<ShardPlanProblem> problems;
  check_heads(spec, layout, problems);
  check_size("intermediate_size", spec.intermediate_size, layout, problems);
  check_size("vocab_size", spec.vocab_size, layout, problems);
  check_chunks(spec, layout, chunks_per_rank, problems);
  return problems;
}

std::vector<double> stage_costs(const ModelSpec& spec, int64_t tokens) {
  // A weight takes a multiply and an add a token forward, and twice that backward.
  constexpr double kPerElement = 6;
  const auto t = static_cast<double>(tokens);
  std::vector<double> costs(static_cast<size_t>(spec.num_layers()) + 2, 0.0);
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    const bool is_block = parameter.stage > 0 && parameter.stage <= spec.num_layers();
    if (is_block && parameter.shape.size() == 2) {
      costs[static_cast<size_t>(parameter.stage)] +=
          kPerElement * t * static_cast<double>(parameter.numel());
    }
  }
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const auto pairs =
        static_cast<double>(attention_pairs(tokens, spec.layers[layer].sliding_window));
    constexpr double kProducts = 2;  // scores and weighted values
    costs[layer + 1] +=
        kPerElement * kProducts * pairs * static_cast<double>(spec.num_heads * spec.head_dim);
  }
  costs.back() = kPerElement * t * static_cast<double>(spec.vocab_size * spec.hidden_size);
  return costs;
}

}  // namespace hone::models
