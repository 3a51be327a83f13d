#include "recipes/plan/plan_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "core/text.h"

namespace hone::recipes {
namespace {

__attribute__((format(printf, 1, 2))) std::string line(const char* format, ...) {
  std::array<char, 512> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return std::string(text.data()) + "\n";
}

std::string bytes_text(double bytes) { return core::format_bytes(bytes); }
std::string bytes_text(int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  if (seconds < 1) {
    std::snprintf(text.data(), text.size(), "%.3g ms", 1e3 * seconds);
  } else {
    std::snprintf(text.data(), text.size(), "%.3f s", seconds);
  }
  return text.data();
}

struct Row {
  const char* name;
  int64_t MemoryParts::*part;
};
constexpr std::array<Row, 6> kRows{{{"parameters", &MemoryParts::parameters},
                                    {"gradients", &MemoryParts::gradients},
                                    {"optimizer", &MemoryParts::optimizer},
                                    {"gather buffers", &MemoryParts::gathered},
                                    {"activations", &MemoryParts::activations},
                                    {"head chunk", &MemoryParts::head_chunk}}};

std::string job_text(const PlanInput& input, const Plan& plan) {
  std::string text =
      line("%s: %lld parameters, %lld of them trained", input.spec.architecture.c_str(),
           static_cast<long long>(plan.table.num_parameters),
           static_cast<long long>(plan.table.num_trainable));
  const auto ranks = static_cast<long long>(input.layout.num_ranks());
  text += line("%lld rank%s of %s: %s%s, %s", ranks, ranks == 1 ? "" : "s",
               input.hardware.description.c_str(), parallel::describe_layout(input.layout).c_str(),
               input.layout.dp_shard > 1
                   ? (", dp_shard_level " + std::to_string(input.shard_level)).c_str()
                   : "",
               input.is_bfloat16 ? "bfloat16" : "float32");
  text +=
      line("a step: %lld micro-batches of %lld x %lld tokens = %s tokens%s",
           static_cast<long long>(input.num_micro_batches()),
           static_cast<long long>(input.micro_batch_size), static_cast<long long>(input.row_tokens),
           core::format_count(static_cast<uint64_t>(input.step_tokens())).c_str(),
           input.recompute ? ", blocks computed again in the backward" : "");
  return text;
}

std::string proof_text(const Plan& plan) {
  if (plan.lists.problems.empty()) {
    return line(
        "schedule: sound; collectives and messages of %lld ranks match (%lld collectives and "
        "%lld messages in a step of one model)",
        static_cast<long long>(plan.lists.num_proved),
        static_cast<long long>(plan.lists.num_collectives),
        static_cast<long long>(plan.lists.num_messages));
  }
  std::string text = "schedule: ranks would wait for each other for ever\n";
  for (const std::string& problem : plan.lists.problems) text += "  " + problem + "\n";
  return text;
}

std::string memory_text(const PlanInput& input, const Plan& plan) {
  const RankMemory& rank = plan.memory.largest;
  std::string text = line("\nmemory of rank %lld, which needs most%22s%14s",
                          static_cast<long long>(rank.rank), "largest", "at the peak");
  for (const Row& row : kRows) {
    text += line("  %-34s%20s%14s", row.name, bytes_text(rank.most.*row.part).c_str(),
                 bytes_text(rank.at_peak.*row.part).c_str());
  }
  text += line("  %-34s%34s", "driver, libraries, program",
               bytes_text(input.hardware.reserved_bytes).c_str());
  text += line("  %-34s%34s  (%s)", "together", bytes_text(plan.needed_bytes).c_str(),
               rank.peak.c_str());
  const double share = 100 * plan.needed_bytes / input.hardware.memory_bytes;
  text += line("  %s: %.0f %% of %s", plan.fits ? "fits" : "DOES NOT FIT", share,
               bytes_text(input.hardware.memory_bytes).c_str());
  const auto [least, most] = std::ranges::minmax_element(plan.memory.total_by_rank);
  if (*least != *most)
    text += line("  the rank that needs least: %s",
                 bytes_text(static_cast<double>(*least) + input.hardware.reserved_bytes).c_str());
  return text;
}

std::string time_text(const PlanInput& input, const Plan& plan) {
  const TimePlan& time = plan.time;
  const auto ranks = static_cast<double>(input.layout.num_ranks());
  std::string text =
      line("\na step: %s, %.4g tokens/s, %.4g of each rank", seconds_text(time.seconds).c_str(),
           time.tokens_per_second(input), time.tokens_per_second(input) / ranks);
  text += line(
      "  %.4g FLOPs%s, %.4g FLOP/s of each rank", time.step_flops,
      time.recompute_flops > 0
          ? (" and " + std::to_string(std::lround(100 * time.recompute_flops / time.step_flops)) +
             " % again")
                .c_str()
          : "",
      time.step_flops / time.seconds / ranks);
  if (input.layout.pp > 1) text += line("  bubble: %.1f %% of the step", 100 * time.bubble);
  for (const AxisTraffic& axis : time.axes) {
    text += line("  %-12s %3lld ranks, %s: sends %s a rank in %s, %s of it exposed", axis.name,
                 static_cast<long long>(axis.size),
                 axis.crosses_nodes ? "between nodes" : "in a node", bytes_text(axis.bytes).c_str(),
                 seconds_text(axis.seconds).c_str(), seconds_text(axis.exposed).c_str());
  }
  text += line("  update: %s", seconds_text(time.update_seconds).c_str());
  return text;
}

std::string changes_text(const Plan& plan, const std::vector<Change>& changes) {
  if (changes.empty()) return "";
  std::string text =
      plan.fits ? "\nwhat would save most time\n" : "\nwhat would save most memory\n";
  for (const Change& change : changes) {
    const auto amount = [](double saved, const std::string& shown) {
      return (saved < 0 ? "+" : "-") + shown;
    };
    text += line("  %-46s %10s a step, %10s%s", change.what.c_str(),
                 amount(change.seconds, seconds_text(std::abs(change.seconds))).c_str(),
                 amount(change.bytes, bytes_text(std::abs(change.bytes))).c_str(),
                 !plan.fits && change.fits ? ", fits" : "");
  }
  return text;
}

core::Json parts_json(const MemoryParts& parts) {
  core::Json json;
  for (const Row& row : kRows) {
    std::string name = row.name;
    std::ranges::replace(name, ' ', '_');
    json[name] = parts.*row.part;
  }
  json["total"] = parts.total();
  return json;
}

core::Json layout_json(const PlanInput& input) {
  core::Json json = parallel::layout_to_json(input.layout);
  json["dp_shard_level"] = input.shard_level;
  json["chunks_per_rank"] = input.chunks_per_rank;
  return json;
}

}  // namespace

std::string plan_text(const PlanInput& input, const Plan& plan,
                      const std::vector<Change>& changes) {
  return job_text(input, plan) + proof_text(plan) + memory_text(input, plan) +
         time_text(input, plan) + changes_text(plan, changes);
}

core::Json plan_json(const PlanInput& input, const Plan& plan, const std::vector<Change>& changes) {
  const TimePlan& time = plan.time;
  core::Json json{{"architecture", input.spec.architecture},
                  {"num_parameters", plan.table.num_parameters},
                  {"num_trainable", plan.table.num_trainable},
                  {"hardware", input.hardware.name},
                  {"layout", layout_json(input)},
                  {"dtype", input.is_bfloat16 ? "bfloat16" : "float32"},
                  {"gradient_checkpointing", input.recompute},
                  {"step_tokens", input.step_tokens()},
                  {"schedule_problems", plan.lists.problems}};
  json["memory"] = {{"rank", plan.memory.largest.rank},
                    {"peak", plan.memory.largest.peak},
                    {"at_peak", parts_json(plan.memory.largest.at_peak)},
                    {"largest", parts_json(plan.memory.largest.most)},
                    {"reserved", input.hardware.reserved_bytes},
                    {"needed", plan.needed_bytes},
                    {"available", input.hardware.memory_bytes},
                    {"fits", plan.fits},
                    {"total_by_rank", plan.memory.total_by_rank}};
  json["time"] = {{"step_seconds", time.seconds},
                  {"tokens_per_second", time.tokens_per_second(input)},
                  {"step_flops", time.step_flops},
                  {"recompute_flops", time.recompute_flops},
                  {"compute_seconds", time.compute_seconds},
                  {"update_seconds", time.update_seconds},
                  {"bubble", time.bubble},
                  {"communication", core::Json::array()}};
  for (const AxisTraffic& axis : time.axes) {
    json["time"]["communication"].push_back({{"axis", axis.name},
                                             {"ranks", axis.size},
                                             {"crosses_nodes", axis.crosses_nodes},
                                             {"bytes", axis.bytes},
                                             {"seconds", axis.seconds},
                                             {"exposed_seconds", axis.exposed}});
  }
  json["changes"] = core::Json::array();
  for (const Change& change : changes) {
    json["changes"].push_back({{"change", change.what},
                               {"saved_bytes", change.bytes},
                               {"saved_seconds", change.seconds},
                               {"fits", change.fits}});
  }
  return json;
}

std::string search_text(const SearchResult& result, size_t count) {
  std::string text = line("\n%zu of %lld layouts fit; the fastest", result.fitting.size(),
                          static_cast<long long>(result.num_tried));
  for (size_t i = 0; i < std::min(count, result.fitting.size()); ++i) {
    const Candidate& candidate = result.fitting[i];
    text += line("  %10s a step, %10s  %s%s", seconds_text(candidate.seconds).c_str(),
                 bytes_text(candidate.needed_bytes).c_str(),
                 parallel::describe_layout(candidate.input.layout).c_str(),
                 candidate.input.recompute ? ", gradient_checkpointing" : "");
  }
  return text;
}

core::Json search_json(const SearchResult& result, size_t count) {
  core::Json json = core::Json::array();
  for (size_t i = 0; i < std::min(count, result.fitting.size()); ++i) {
    const Candidate& candidate = result.fitting[i];
    json.push_back({{"layout", layout_json(candidate.input)},
                    {"gradient_checkpointing", candidate.input.recompute},
                    {"gradient_accumulation_steps", candidate.input.accumulation},
                    {"needed_bytes", candidate.needed_bytes},
                    {"step_seconds", candidate.seconds}});
  }
  return json;
}

core::ErrorDetail shortage(const std::string& recipe, const PlanInput& input, const Plan& plan) {
  const Row* largest = &kRows.front();
  for (const Row& row : kRows) {
    if (plan.memory.largest.at_peak.*row.part > plan.memory.largest.at_peak.*largest->part)
      largest = &row;
  }
  constexpr size_t kNumChanges = 3;
  std::string hint = "hone plan " + recipe + " shows all of it";
  for (const Change& change : best_changes(input, plan, kNumChanges)) {
    hint += "; " + change.what + " saves " + bytes_text(change.bytes) +
            (change.fits ? " and fits" : "");
  }
  return {.what = "the run does not fit the memory",
          .where = recipe,
          .got = bytes_text(plan.needed_bytes) + " on rank " +
                 std::to_string(plan.memory.largest.rank) + " (" + plan.memory.largest.peak +
                 "), most of it " + largest->name + " " +
                 bytes_text(plan.memory.largest.at_peak.*largest->part),
          .expected = "at most " + bytes_text(input.hardware.memory_bytes) + " (" +
                      input.hardware.description + ")",
          .hint = hint + "; --ignore-plan tries it all the same"};
}

}  // namespace hone::recipes
