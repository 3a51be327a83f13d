#include "recipes/exec_train.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace hone::recipes {
namespace {

struct TrainVerb {
  const char* name;
  const char* description;
};
constexpr std::array<TrainVerb, 6> kTrainVerbs{
    {{"train", "Fine-tune a model as a recipe says"},
     {"generate", "Let a model write"},
     {"eval", "Loss and perplexity of a model on data"},
     {"merge", "Merge an adapter into its base model"},
     {"export", "Write a model as a GGUF file for llama.cpp"},
     {"check", "Check that a model trains as it should"}}};
constexpr const char* kProgram = "hone-train";

}  // namespace

bool is_train_verb(const std::string& verb) {
  for (const TrainVerb& v : kTrainVerbs) {
    if (verb == v.name) return true;
  }
  return false;
}

void add_train_verbs(CLI::App& app, Action&) {
  for (const TrainVerb& v : kTrainVerbs) app.add_subcommand(v.name, v.description);
}

int exec_train(char** argv) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv((self.parent_path() / kProgram).c_str(), argv);
  ::execvp(kProgram, argv);
  const std::string reason = std::strerror(errno);
  std::fputs(
      error_report(core::Error(core::ErrorKind::kInternal,
                               {.what = std::string("can't start ") + kProgram + ": " + reason,
                                .where = self.parent_path().string(),
                                .hint = "it is built beside hone when LibTorch is there"}))
          .c_str(),
      stderr);
  return static_cast<int>(core::ErrorKind::kInternal);
}

}  // namespace hone::recipes
