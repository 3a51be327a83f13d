// What `report_to` asks for, kept up to date from the files of the run folder while a run goes on.
#pragma once

#include <optional>

#include "recipes/recipe.h"
#include "recipes/tensorboard_log.h"

namespace hone::recipes {

// A report that can't be written is a warning and ends with it; it never ends a run.
class RunReports {
 public:
  explicit RunReports(const Recipe& recipe) : recipe_(recipe) {}
  void update(trainer::RunMoment moment);
  void write_html() const;  // report.html as the files are now

 private:
  void update_tensorboard(trainer::RunMoment moment);

  const Recipe& recipe_;
  std::optional<TensorBoardLog> tensorboard_;
  bool tensorboard_failed_ = false;
};

}  // namespace hone::recipes
