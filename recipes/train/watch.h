// What a recipe and a command line want to see of a run while it goes on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "trainer/samples.h"
#include "trainer/timeline.h"
#include "trainer/trace.h"

namespace hone::recipes {

// Of sample_prompts, then of sample_eval_rows; warns when there are fewer such rows.
std::vector<trainer::SamplePrompt> sample_prompts(const Recipe& recipe, const PreparedData& data,
                                                  const data::Tokenizer& tokenizer);

// hone train --profile [FILE]: a trace from the start of the process to the end of the run,
// whichever it is.
class Profile {
 public:
  explicit Profile(bool on);
  trainer::Trace* trace() { return trace_ ? &*trace_ : nullptr; }

  // The result of `work`, with a slice of this name.
  template <typename Work>
  auto timed(const std::string& name, const Work& work) {
    trainer::Timeline timeline(trace());
    const auto span = timeline.slice(name);
    return work();
  }

  // What went wrong before this is no run to look at, and leaves no trace.
  void begin_run() { has_run_ = true; }
  void write(const std::filesystem::path& path) const;  // throws kIo, kCannotCreate

 private:
  bool has_run_ = false;
  std::optional<trainer::Trace> trace_;
};

}  // namespace hone::recipes
