// `mpirun hone train` in a Workspace. Every run is bounded in time: a hang is exit code 124.
#pragma once

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>

#include "tests/e2e/workspace.h"
#include "tests/support/mpirun.h"

namespace hone::test {

// What some ranks of a run are started with; several make one run of them all.
struct RankGroup {
  int ranks = 1;
  std::vector<std::string> arguments;
  std::vector<std::string> environment = {};  // NAME=VALUE
  fs::path folder = {};                       // another working folder
  fs::path program = kBin / "hone";
};

inline ProcessResult mpirun(const Workspace& work, const std::vector<RankGroup>& groups,
                            const std::function<void(pid_t)>& meanwhile = {}) {
  std::vector<std::string> command = mpirun_words(60);
  for (size_t i = 0; i < groups.size(); ++i) {
    const RankGroup& group = groups[i];
    if (i > 0) command.push_back(":");
    command.insert(command.end(), {"-np", std::to_string(group.ranks)});
    if (!group.folder.empty()) command.insert(command.end(), {"-wdir", group.folder.string()});
    command.push_back("env");
    command.insert(command.end(), group.environment.begin(), group.environment.end());
    command.push_back(group.program.string());
    command.insert(command.end(), group.arguments.begin(), group.arguments.end());
  }
  return work.run(command, mpirun_environment(), meanwhile);
}

inline ProcessResult mpirun(const Workspace& work, int ranks, std::vector<std::string> arguments,
                            const std::function<void(pid_t)>& meanwhile = {}) {
  return mpirun(work, {{.ranks = ranks, .arguments = std::move(arguments)}}, meanwhile);
}

// Ranks on each axis of a run.
struct Sizes {
  int replicate = 1, shard = 1, level = 3;
  int tp = 1, cp = 1, pp = 1;

  int ranks() const { return replicate * shard * tp * cp * pp; }
  std::map<std::string, int> split_axes() const {
    std::map<std::string, int> axes = {{"tp", tp}, {"cp", cp}, {"pp", pp}};
    std::erase_if(axes, [](const auto& axis) { return axis.second == 1; });
    return axes;
  }
  std::string text() const {
    std::string text = std::to_string(replicate) + " x " + std::to_string(shard) + " level " +
                       std::to_string(level);
    for (const auto& [axis, size] : split_axes()) text += " " + axis + " " + std::to_string(size);
    return text;
  }
  std::vector<std::string> arguments() const {
    std::map<std::string, int> keys = {{"dp_replicate_size", replicate}, {"dp_shard_size", shard}};
    if (shard > 1) keys["dp_shard_level"] = level;
    if (tp > 1) keys["tensor_parallel_size"] = tp;
    if (cp > 1) keys["context_parallel_size"] = cp;
    if (pp > 1) keys["pipeline_parallel_size"] = pp;
    std::vector<std::string> words = {"train", "recipe.yaml"};
    for (const auto& [key, size] : keys)
      words.insert(words.end(), {"--set", key + "=" + std::to_string(size)});
    return words;
  }
};

// One rank is started without mpirun, as a user would.
inline ProcessResult train_on(const Workspace& work, const Sizes& sizes,
                              const std::vector<std::string>& more = {},
                              const std::function<void(pid_t)>& meanwhile = {}) {
  std::vector<std::string> arguments = sizes.arguments();
  arguments.insert(arguments.end(), more.begin(), more.end());
  if (sizes.ranks() == 1) return work.hone(arguments, {}, meanwhile);
  return mpirun(work, sizes.ranks(), arguments, meanwhile);
}

// The recipe of a Workspace for any number of ranks up to 4.
inline std::map<std::string, std::string> for_ranks(
    std::map<std::string, std::string> changes = {}) {
  changes.insert({{"micro_batch_size", "1"},
                  {"gradient_accumulation_steps", ""},
                  {"global_batch_size", "4"},
                  {"max_steps", "4"},
                  {"save_steps", "2"},
                  {"eval_steps", "2"},
                  {"sample_prompts", "[\"What is pkg3?\"]"},
                  {"sample_max_new_tokens", "8"}});
  return changes;
}

inline std::map<std::string, std::string> full_fine_tuning() {
  return {{"adapter", ""}, {"learning_rate", "1.0e-3"}};
}

// The schedule and the epochs are those of the whole run; the last step's row comes at 2, 4, 6, 8.
inline std::map<std::string, std::string> eight_steps(
    std::map<std::string, std::string> changes = {}) {
  changes.insert({{"max_steps", "8"}, {"scheduler_steps", "8"}});
  return for_ranks(changes);
}

// Goes on with the newest checkpoint, if there is one, up to each part's step on its ranks.
inline void train_through_layouts(const Workspace& work,
                                  const std::vector<std::pair<Sizes, int>>& parts,
                                  const std::vector<std::string>& more = {}) {
  for (const auto& [sizes, last_step] : parts) {
    SCOPED_TRACE(sizes.text() + " to step " + std::to_string(last_step));
    std::vector<std::string> arguments = {"--resume", "--set",
                                          "max_steps=" + std::to_string(last_step)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = train_on(work, sizes, arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    const core::Json layout = core::read_json_file(work / "out" / "run.json").at("layout");
    EXPECT_EQ(layout.at("dp_shard"), sizes.shard);
    for (const auto& [axis, size] : sizes.split_axes()) EXPECT_EQ(layout.at(axis), size);
  }
}

// The rows of every micro-batch of every step, without the rank that computed it.
inline std::vector<std::string> ledger(const Workspace& work) {
  std::vector<std::string> rows;
  std::istringstream lines(slurp(work / "out" / "ledger.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    core::Json row = core::Json::parse(line);
    for (core::Json& micro_batch : row["micro_batches"]) micro_batch.erase("rank");
    rows.push_back(row.dump());
  }
  return rows;
}

inline std::string weights_file(const Workspace& work) {
  const fs::path adapter = work / "out" / "adapter_model.safetensors";
  return slurp(fs::exists(adapter) ? adapter : work / "out" / "model.safetensors");
}

// The values of a safetensors file whose tensors are all float32.
inline std::vector<float> floats(const std::string& safetensors) {
  uint64_t header = 0;
  std::memcpy(&header, safetensors.data(), 8);
  const size_t begin = 8 + header;
  std::vector<float> values((safetensors.size() - begin) / sizeof(float));
  std::memcpy(values.data(), safetensors.data() + begin, values.size() * sizeof(float));
  return values;
}

inline std::vector<core::Json> rows_of(const fs::path& path) {
  std::vector<core::Json> rows;
  std::istringstream lines(slurp(path));
  for (std::string line; std::getline(lines, line);) rows.push_back(core::Json::parse(line));
  return rows;
}

inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

// Everything of two runs but their clocks, byte for byte.
inline void expect_same_bytes(const Workspace& a, const Workspace& b, int last_step) {
  EXPECT_EQ(weights_file(a), weights_file(b)) << "final weights";
  EXPECT_EQ(timeless_metrics(a / "out" / "metrics.jsonl"),
            timeless_metrics(b / "out" / "metrics.jsonl"));
  EXPECT_EQ(slurp(a / "out" / "samples.jsonl"), slurp(b / "out" / "samples.jsonl"));
  const std::string state = "out/checkpoint-" + std::to_string(last_step) + "/state";
  ASSERT_EQ(names_in(a / state), names_in(b / state));
  for (const std::string& name : names_in(a / state))
    EXPECT_EQ(slurp(a / state / name), slurp(b / state / name)) << name;
}

inline std::string first_difference(const core::Json& a, const core::Json& b, double bound) {
  if (a.is_number_float() || b.is_number_float()) {
    const double x = a.get<double>(), y = b.get<double>();
    if (std::abs(x - y) <= bound * std::max(std::abs(x), std::abs(y))) return "";
    return a.dump() + " and " + b.dump();
  }
  if (!a.is_object()) return a == b ? "" : a.dump() + " and " + b.dump();
  for (const auto& [name, value] : a.items()) {
    if (!b.contains(name)) return name + " is not there";
    const std::string inner = first_difference(value, b.at(name), bound);
    if (!inner.empty()) return name + ": " + inner;
  }
  return a.size() == b.size() ? "" : "other keys";
}

// The largest difference of any element.
inline void expect_close_weights(const Workspace& a, const Workspace& b, double bound) {
  const std::vector<float> values_a = floats(weights_file(a)), values_b = floats(weights_file(b));
  ASSERT_EQ(values_a.size(), values_b.size());
  double difference = 0;
  for (size_t i = 0; i < values_a.size(); ++i)
    difference = std::max(difference, std::abs(static_cast<double>(values_a[i]) - values_b[i]));
  EXPECT_LE(difference, bound);
}

// `bound` is relative for metrics, and absolute for weights.
inline void expect_close(const Workspace& a, const Workspace& b, double metrics_bound,
                         double weights_bound) {
  const auto rows_a = timeless_metrics(a / "out" / "metrics.jsonl");
  const auto rows_b = timeless_metrics(b / "out" / "metrics.jsonl");
  ASSERT_EQ(rows_a.size(), rows_b.size());
  for (size_t i = 0; i < rows_a.size(); ++i) {
    EXPECT_EQ(
        first_difference(core::Json::parse(rows_a[i]), core::Json::parse(rows_b[i]), metrics_bound),
        "")
        << rows_a[i];
  }
  expect_close_weights(a, b, weights_bound);
}

inline std::vector<pid_t> children_of(pid_t pid) {
  const std::string id = std::to_string(pid);
  std::istringstream text(slurp(fs::path("/proc") / id / "task" / id / "children"));
  std::vector<pid_t> children;
  for (pid_t child = 0; text >> child;) children.push_back(child);
  return children;
}

// The processes of the ranks below the one that was started, by rank.
inline std::map<int, pid_t> rank_processes(pid_t above) {
  std::map<int, pid_t> ranks;
  for (const pid_t child : children_of(above)) {
    const std::string environment =
        '\0' + slurp(fs::path("/proc") / std::to_string(child) / "environ");
    const std::string name = std::string(1, '\0') + "OMPI_COMM_WORLD_RANK=";
    if (const size_t at = environment.find(name); at != std::string::npos)
      ranks[std::atoi(environment.c_str() + at + name.size())] = child;
    ranks.merge(rank_processes(child));
  }
  return ranks;
}

inline constexpr int kMpirun = -1;

// To one rank, or to mpirun, which passes it on to all; once some steps are done.
inline std::function<void(pid_t)> send_stop(const Workspace& work, int target) {
  return [&work, target](pid_t pid) {
    const fs::path metrics = work / "out" / "metrics.jsonl";
    ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
    ::kill(target == kMpirun ? children_of(pid).at(0) : rank_processes(pid).at(target), SIGUSR1);
  };
}

// Published, and nothing left of a save that was not.
inline void expect_one_checkpoint(const Workspace& work) {
  size_t num_checkpoints = 0;
  for (const std::string& name : names_in(work / "out")) {
    num_checkpoints += name.starts_with("checkpoint-");
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
  }
  EXPECT_EQ(num_checkpoints, 1u);
}

}  // namespace hone::test
