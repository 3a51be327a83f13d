// A run as TensorBoard shows it: metrics.jsonl, samples.jsonl and the recipe of a run folder, as an
// event file.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "formats/tensorboard.h"
#include "recipes/run_rows.h"

namespace hone::recipes {

// Tags as the Hugging Face Trainer's: "train/loss", "train/grad_norm", "eval/loss"; those of a
// dataset follow: "eval/loss/chat". What is no number is left out.
std::vector<formats::ScalarValue> scalars_of_row(const core::Json& row);

// The values of a resolved recipe, nested keys as "adapter.r"; lists are JSON text, keys without a
// value are left out.
std::vector<std::pair<std::string, formats::HyperParameter>> hyper_parameters(
    const core::Json& recipe);

class TensorBoardLog {
 public:
  // Starts an event file with what the run folder's files already hold, which on resume is what was
  // kept, and empties the event files of earlier parts of the same run: no step is there twice, and
  // none of a part that was thrown away. Rows keep the times those files gave them. Event files of
  // other runs are left alone. Throws kIo, kCannotCreate.
  TensorBoardLog(const std::filesystem::path& output_dir, const std::filesystem::path& logging_dir,
                 const core::Json& recipe);
  void follow();                               // appends the rows that are new
  void finish(formats::SessionStatus status);  // the last rows, and how it ended

 private:
  std::vector<formats::EventContent> new_contents();
  formats::EventContent sample_content(const core::Json& row);

  RowReader metrics_, samples_;
  std::map<std::string, size_t> prompt_numbers_;  // in order of appearance, from 1
  std::unique_ptr<formats::EventFile> file_;
};

}  // namespace hone::recipes
