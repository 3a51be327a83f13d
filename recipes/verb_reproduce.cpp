// hone reproduce: does a run again from its run.json and says equal, or where it first differs.
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/temporary_folder.h"
#include "core/text.h"
#include "recipes/machine.h"
#include "recipes/reproduce.h"
#include "recipes/run_compare.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;

constexpr int kDiffers = 1;

struct ReproduceArguments {
  std::string run_dir;
  std::string output;  // "": a temporary folder, removed when the runs are equal
  int64_t steps = 0;   // 0: all
};

// The folder of the rerun, `recipe.json` and `run/`; removed at the end unless it is to be kept.
class RerunFolder {
 public:
  explicit RerunFolder(const std::string& output) {
    if (!output.empty()) {
      path_ = output;
      if (fs::exists(path_) && !fs::is_empty(path_)) {
        core::fail(ErrorKind::kCannotCreate,
                   {.what = "the folder is not empty", .where = path_.string()});
      }
      core::make_folders(path_);
      return;
    }
    temporary_.emplace(fs::temp_directory_path(), "hone-reproduce-");
    path_ = temporary_->path();
  }
  void keep() {
    if (temporary_) temporary_->keep();
  }
  fs::path recipe() const { return path_ / "recipe.json"; }
  fs::path run() const { return path_ / "run"; }

 private:
  fs::path path_;
  std::optional<core::TemporaryFolder> temporary_;
};

// Relative paths of the recipe are meant from where the run was started.
void enter_working_folder(const RecordedRun& run) {
  const std::string folder = run.info.value("working_folder", "");
  std::error_code error;
  if (folder.empty() || !fs::is_directory(folder, error)) return;
  fs::current_path(folder, error);
}

// The number of threads and the instruction set decide the order of sums: taken over where
// possible.
void repeat_machine(const Json& machine) {
  const auto set = [](const char* name, const std::string& value) {
    if (std::getenv(name) == nullptr) ::setenv(name, value.c_str(), 1);
  };
  if (machine.contains("torch_threads")) set("OMP_NUM_THREADS", machine["torch_threads"].dump());
  if (machine.contains("isa") && machine["isa"].is_string())
    set("HONE_ISA", machine["isa"].get<std::string>());
}

void warn_of_machine(const RecordedRun& run) {
  const Json machine = run.info.value("machine", Json::object());
  const Json versions = run.info.value("versions", Json::object());
  Json here = machine, program = versions;
  if (machine.contains("cpu")) here["cpu"] = cpu_model();
  if (machine.contains("threads")) here["threads"] = std::thread::hardware_concurrency();
  if (versions.contains("hone")) program["hone"] = version_text();
  for (const auto& [then, now] : {std::pair{machine, here}, {versions, program}}) {
    for (const std::string& change : changed_values(then, now))
      spdlog::warn("{}; numbers may differ in their last digits", change);
  }
}

void check_inputs(const RecordedRun& run, const Recipe& recipe) {
  const std::vector<std::string> changed = changed_inputs(run, recipe);
  if (changed.empty()) return;
  core::fail(ErrorKind::kBadInput,
             {.what = "the inputs are not those of the run:\n  " + core::join(changed, "\n  "),
              .where = (run.folder / "run.json").string()});
}

int run_training(const Recipe& recipe, const fs::path& recipe_file) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "hone";
  std::vector<std::string> words = rerun_command(recipe, program, recipe_file);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) core::fail_errno("can't start a process", "fork", errno);
  if (child == 0) {
    ::execvp(arguments[0], arguments.data());
    std::fprintf(stderr, "can't start %s: %s\n", arguments[0], std::strerror(errno));
    ::_exit(static_cast<int>(ErrorKind::kInternal));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool report(const std::string& what, const std::string& equal,
            const std::optional<RunDifference>& difference) {
  if (!difference) {
    std::printf("%-16s equal: %s\n", what.c_str(), equal.c_str());
    return true;
  }
  std::printf("%-16s DIFFERS first at %s: run %s, rerun %s\n", what.c_str(),
              difference->where.c_str(), difference->first.c_str(), difference->second.c_str());
  return false;
}

bool report_rows(const RecordedRun& run, const fs::path& rerun, const std::string& name,
                 int64_t num_steps) {
  if (!fs::exists(run.folder / name)) {
    std::printf("%-16s not compared: the run has none\n", name.c_str());
    return true;
  }
  const RowsComparison rows = compare_rows(run.folder, rerun, name, num_steps);
  return report(name, std::to_string(rows.num_rows) + " rows", rows.difference);
}

// Weights after `num_steps`: the run's root folder has those of its end, checkpoints the others.
bool report_weights(const RecordedRun& run, const fs::path& rerun, int64_t num_steps) {
  const fs::path checkpoint = run.folder / ("checkpoint-" + std::to_string(num_steps));
  const bool at_end = run.finished && num_steps == run.step;
  if (!at_end && !fs::exists(checkpoint)) {
    std::printf("%-16s not compared: the run has no %s\n", "weights",
                checkpoint.filename().c_str());
    return true;
  }
  const WeightsComparison weights = compare_weights(at_end ? run.folder : checkpoint, rerun);
  const bool equal = report(
      "weights",
      std::to_string(weights.num_tensors) + " tensors, sha256 " + weights.sha256.substr(0, 16),
      weights.difference);
  if (!equal) {
    std::printf("%-16s %lld of %lld tensors differ, by at most %s (%s)\n", "",
                static_cast<long long>(weights.num_different),
                static_cast<long long>(weights.num_tensors),
                Json(weights.largest_difference).dump().c_str(), weights.largest_tensor.c_str());
  }
  return equal;
}

bool compare_runs(const RecordedRun& run, const fs::path& rerun, int64_t num_steps) {
  const Json again = core::read_json_file(rerun / "run.json");
  for (const char* part : {"machine", "versions"}) {
    const Json then = run.info.value(part, Json::object());
    for (const std::string& change : changed_values(then, again.value(part, Json::object())))
      std::printf("%-16s %s\n", part, change.c_str());
  }
  bool equal = report_rows(run, rerun, "metrics.jsonl", num_steps);
  if (fs::exists(run.folder / "samples.jsonl") || fs::exists(rerun / "samples.jsonl"))
    equal = report_rows(run, rerun, "samples.jsonl", num_steps) && equal;
  return report_weights(run, rerun, num_steps) && equal;
}

int reproduce(const ReproduceArguments& arguments) {
  const RecordedRun run = read_run(arguments.run_dir);
  const int64_t num_steps = arguments.steps > 0 ? std::min(arguments.steps, run.step) : run.step;
  RerunFolder folder(arguments.output.empty() ? "" : fs::absolute(arguments.output).string());
  enter_working_folder(run);
  core::write_file_atomic(folder.recipe(), rerun_recipe(run, folder.run(), num_steps));
  const Recipe recipe = load_recipe(folder.recipe(), {.num_ranks = kAnyRanks});
  check_inputs(run, recipe);
  std::printf("inputs           the same: model, tokenizer, data\n");
  warn_of_machine(run);
  if (const std::string from = run.info.value("resumed_from", ""); !from.empty())
    spdlog::warn("the run went on from {}: it is compared with one that was not interrupted", from);
  repeat_machine(run.info.value("machine", Json::object()));
  spdlog::info("running {} of {} steps again, on {}", num_steps, run.step,
               parallel::describe_layout(recipe.layout));
  if (const int code = run_training(recipe, folder.recipe()); code != 0) {
    folder.keep();
    spdlog::error("the rerun ended with exit code {}", code);
    return code;
  }
  const bool equal = compare_runs(run, folder.run(), num_steps);
  std::printf("%s\n", equal ? "equal" : "not equal");
  if (!equal) {
    folder.keep();
    spdlog::info("the rerun is in {}", folder.run().string());
  }
  return equal ? 0 : kDiffers;
}

}  // namespace

void add_reproduce(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<ReproduceArguments>();
  CLI::App* verb = app.add_subcommand(
      "reproduce", "Do a run again from its run.json and say equal, or where it first differs");
  verb->add_option("run", a->run_dir, "output_dir of the run")->required();
  verb->add_option("--steps", a->steps, "Only the first steps")->check(CLI::PositiveNumber);
  verb->add_option("--output", a->output, "Keep the rerun in this folder");
  verb->callback([&chosen, a] { chosen = [a] { return reproduce(*a); }; });
}

}  // namespace hone::recipes
