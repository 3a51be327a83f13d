// A folder with a tiny chat model, its data and a recipe, in which the built programs are run.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/json.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace hone::test {

namespace fs = std::filesystem;

inline const fs::path kBin = fs::path(test::kBinaryDir) / "bin";
inline const fs::path kTinyChat = fs::path(test::kSourceDir) / "tests/golden/tiny-chat";

class Workspace {
 public:
  Workspace() {
    fs::create_directories(folder_ / "model");
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors",
                             "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
      fs::copy_file(kTinyChat / name, folder_ / "model" / name);
    }
    for (const char* name : {"train.jsonl", "test.jsonl"})
      fs::copy_file(kTinyChat / name, folder_ / name);
    write_recipe({});
  }

  fs::path operator/(const std::string& name) const { return folder_ / name; }

  // The base recipe with some keys replaced; an empty value removes the key.
  void write_recipe(const std::map<std::string, std::string>& changes) {
    std::map<std::string, std::string> keys = {
        {"recipe", "sft"},
        {"model_name_or_path", "model"},
        {"dtype", "float32"},
        {"adapter",
         "{type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1, target_modules: all-linear}"},
        {"datasets", "[{path: train.jsonl, format: messages}]"},
        {"eval_datasets", "[{path: test.jsonl, format: messages}]"},
        {"max_length", "64"},
        {"packing", "true"},
        {"assistant_only_loss", "true"},
        {"gradient_accumulation_steps", "2"},
        {"learning_rate", "1.0e-2"},
        {"lr_scheduler_type", "cosine"},
        {"warmup_steps", "2"},
        {"max_steps", "8"},
        {"seed", "7"},
        {"output_dir", "out"},
        {"logging_steps", "1"},
        {"eval_steps", "4"},
        {"save_steps", "4"},
        {"save_total_limit", "5"},
    };
    for (const auto& [key, value] : changes) {
      keys[key] = value;
      if (value.empty()) keys.erase(key);
    }
    std::ostringstream text;
    for (const auto& [key, value] : keys) text << key << ": " << value << "\n";
    write_text(folder_ / "recipe.yaml", text.str());
  }

  ProcessResult hone(std::vector<std::string> arguments, Environment environment = {},
                     const std::function<void(pid_t)>& meanwhile = {}) const {
    arguments.insert(arguments.begin(), (kBin / "hone").string());
    return run(arguments, std::move(environment), meanwhile);
  }

  // Any command, with what the programs look at in its environment.
  ProcessResult run(const std::vector<std::string>& command, Environment environment = {},
                    const std::function<void(pid_t)>& meanwhile = {}) const {
    environment.emplace("HONE_HUB", (folder_ / "hub").string());
    environment.emplace("HF_HUB_OFFLINE", "1");  // nothing is asked of a hub elsewhere
    environment.emplace("XDG_CACHE_HOME", (folder_ / "cache").string());
    environment.emplace("OMP_NUM_THREADS", "1");
    return run_process(command, environment, folder_.path(), meanwhile);
  }

  ProcessResult train(const std::vector<std::string>& more = {},
                      const Environment& environment = {},
                      const std::function<void(pid_t)>& meanwhile = {}) const {
    std::vector<std::string> arguments = {"train", "recipe.yaml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return hone(arguments, environment, meanwhile);
  }

 private:
  TemporaryFolder folder_;
};

// The rows of metrics.jsonl without what depends on the clock or on how many ranks there are.
inline std::vector<std::string> timeless_metrics(const fs::path& path) {
  std::vector<std::string> rows;
  std::istringstream lines(slurp(path));
  for (std::string line; std::getline(lines, line);) {
    core::Json row = core::Json::parse(line);
    for (const char* key : {"tokens_per_second", "flops_share", "comm_bytes",
                            "exposed_comm_seconds", "communication"})
      row.erase(key);
    rows.push_back(row.dump());
  }
  return rows;
}

inline void expect_failure(const ProcessResult& result, int code,
                           const std::vector<std::string>& mentions) {
  EXPECT_EQ(result.code, code) << result.err;
  for (const std::string& text : mentions) {
    EXPECT_NE(result.err.find(text), std::string::npos) << "'" << text << "' is not in:\n"
                                                        << result.err;
  }
}

}  // namespace hone::test
