#include "recipes/rank_checks.h"

#include <array>
#include <bit>
#include <string>

namespace hone::recipes {
namespace {

using parallel::Layout;

constexpr int64_t kInterleavedChunks = 2;  // where virtual_pipeline_size is not given

struct SizeKey {
  const char* key;
  int64_t Layout::*size;
};

// In the order in which one is blamed for sizes that don't fit together.
constexpr std::array<SizeKey, 5> kSizeKeys{{{"dp_replicate_size", &Layout::dp_replicate},
                                            {"dp_shard_size", &Layout::dp_shard},
                                            {"context_parallel_size", &Layout::cp},
                                            {"tensor_parallel_size", &Layout::tp},
                                            {"pipeline_parallel_size", &Layout::pp}}};

// The first size that was given and asks for more than one rank.
std::string key_to_blame(const CheckContext& context) {
  for (const SizeKey& key : kSizeKeys) {
    if (context.given(key.key) && context.at(key.key) != 1) return key.key;
  }
  return "dp_replicate_size";
}

std::optional<Layout> resolve_layout(const CheckContext& context, int64_t num_ranks) {
  Layout layout;
  for (const SizeKey& key : kSizeKeys) {
    const core::Json& size = context.at(key.key);
    if (!size.is_null()) layout.*key.size = size.get<int64_t>();
  }
  // How many stages a model has is known only with the model.
  constexpr int64_t kAnyNumberOfStages = int64_t{1} << 40;
  std::vector<std::string> problems;
  if (num_ranks == kAnyRanks) {
    problems = parallel::size_problems(layout);
  } else if (context.given("dp_replicate_size")) {
    problems = parallel::layout_problems(layout, num_ranks, kAnyNumberOfStages);
  } else {
    parallel::FilledLayout filled = parallel::fill_dp_replicate(layout, num_ranks);
    layout = filled.layout;
    problems = std::move(filled.problems);
  }
  for (const std::string& problem : problems) context.report(key_to_blame(context), problem);
  if (!problems.empty()) return std::nullopt;
  return layout;
}

int64_t chunks_per_rank(const CheckContext& context, const Layout& layout) {
  const core::Json& given = context.at("virtual_pipeline_size");
  const bool interleaved = context.at("pipeline_schedule") == "interleaved";
  if (!interleaved && given.is_number() && given != 1) {
    context.report("virtual_pipeline_size",
                   "got " + given.dump() +
                       ", and pipeline_schedule 1f1b has 1 chunk a rank: expected "
                       "pipeline_schedule: interleaved beside it");
  }
  if (interleaved && layout.pp == 1) {
    context.notes.push_back("pipeline_schedule has no effect while pipeline_parallel_size is 1");
  }
  if (!interleaved || layout.pp == 1) return 1;
  return given.is_number() ? given.get<int64_t>() : kInterleavedChunks;
}

void check_strict(const CheckContext& context, const Layout& layout) {
  const auto power_of_two = [](int64_t n) { return std::has_single_bit(static_cast<uint64_t>(n)); };
  const int64_t data_ranks = layout.data_parallel_size();
  const std::string sizes = "dp_replicate " + std::to_string(layout.dp_replicate) + " x dp_shard " +
                            std::to_string(layout.dp_shard);
  if (!power_of_two(data_ranks)) {
    context.report("strict", "needs a power of two of data-parallel ranks, got " + sizes + " = " +
                                 std::to_string(data_ranks));
  } else if (!power_of_two(layout.cp)) {
    context.report("strict", "needs a power of two of ranks that gradients are summed over, got " +
                                 sizes + " x cp " + std::to_string(layout.cp) + " = " +
                                 std::to_string(data_ranks * layout.cp));
  }
}

ParallelOptions parallel_options(const CheckContext& context, const Layout& layout) {
  ParallelOptions options{.shard_level = context.at("dp_shard_level"),
                          .backend = context.at("backend"),
                          .strict = context.at("strict"),
                          .chunks_per_rank = chunks_per_rank(context, layout),
                          .timeout_seconds = context.at("comm_timeout"),
                          .interface = context.at("comm_interface").is_string()
                                           ? context.at("comm_interface").get<std::string>()
                                           : "",
                          .port = context.at("comm_port")};
  if (options.strict) check_strict(context, layout);
  if (options.strict && options.backend == "nccl") {
    context.report("backend",
                   "nccl sums in an order of its own, and strict: true needs a fixed one: "
                   "expected auto or mpi");
  }
  if (options.backend == "nccl" && context.at("device").get<std::string>() == "cpu")
    context.report("backend", "nccl works between GPUs, and device is cpu: expected auto or mpi");
  if (context.given("dp_shard_level") && layout.dp_shard == 1)
    context.notes.push_back("dp_shard_level has no effect while dp_shard_size is 1");
  return options;
}

// nullopt for more rows than any step has: products of batch keys stay far from overflow.
std::optional<int64_t> rows_of_step(int64_t micro, int64_t accumulation, int64_t ranks) {
  constexpr int64_t kMaxRows = int64_t{1} << 40;
  if (micro > kMaxRows / accumulation || micro * accumulation > kMaxRows / ranks)
    return std::nullopt;
  return micro * accumulation * ranks;
}

std::string ranks_text(int64_t ranks) {
  return std::to_string(ranks) + " data-parallel rank" + (ranks == 1 ? "" : "s");
}

std::string micro_text(const BatchSizes& sizes) {
  return "micro_batch_size " + std::to_string(sizes.micro);
}

std::string accumulation_text(const BatchSizes& sizes) {
  return "gradient_accumulation_steps " + std::to_string(sizes.accumulation);
}

// All three given, or global_batch_size left open.
void check_product(const CheckContext& context, int64_t ranks, bool has_global, BatchSizes& sizes) {
  const auto product = rows_of_step(sizes.micro, sizes.accumulation, ranks);
  const std::string equation =
      micro_text(sizes) + " x " + accumulation_text(sizes) + " x " + ranks_text(ranks);
  if (!product) {
    context.report(
        context.given("micro_batch_size") ? "micro_batch_size" : "gradient_accumulation_steps",
        equation + " is more than any step can have");
  } else if (!has_global) {
    sizes.global = *product;
  } else if (*product != sizes.global) {
    context.report("global_batch_size", "got " + std::to_string(sizes.global) + ", expected " +
                                            equation + " = " + std::to_string(*product) +
                                            " (leave one of the three out)");
  }
}

BatchSizes resolve_batch_sizes(const CheckContext& context, int64_t ranks) {
  BatchSizes sizes{.micro = context.at("micro_batch_size"),
                   .accumulation = context.at("gradient_accumulation_steps")};
  const bool has_micro = context.given("micro_batch_size"),
             has_accumulation = context.given("gradient_accumulation_steps"),
             has_global = context.at("global_batch_size").is_number();
  if (has_global) sizes.global = context.at("global_batch_size");
  if (!has_global || (has_micro && has_accumulation)) {
    check_product(context, ranks, has_global, sizes);
    return sizes;
  }
  int64_t& open = has_accumulation ? sizes.micro : sizes.accumulation;
  open = 1;
  const auto known = rows_of_step(sizes.micro, sizes.accumulation, ranks);
  if (known && sizes.global % *known == 0) {
    open = sizes.global / *known;
    return sizes;
  }
  context.report("global_batch_size",
                 "got " + std::to_string(sizes.global) + ", expected a multiple of " +
                     (has_accumulation ? accumulation_text(sizes) : micro_text(sizes)) + " x " +
                     ranks_text(ranks) + (known ? " = " + std::to_string(*known) : ""));
  return sizes;
}

}  // namespace

std::optional<RankPlan> plan_ranks(const CheckContext& context, int64_t num_ranks) {
  const size_t before = context.problems.size();
  const auto layout = resolve_layout(context, num_ranks);
  if (!layout) return std::nullopt;
  const RankPlan plan{.layout = *layout,
                      .options = parallel_options(context, *layout),
                      .batch = resolve_batch_sizes(context, layout->data_parallel_size())};
  if (context.problems.size() > before) return std::nullopt;
  return plan;
}

}  // namespace hone::recipes
