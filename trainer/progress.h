// What somebody who watches a run sees: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "trainer/metrics.h"

namespace hone::trainer {

class Progress {
 public:
  // A silent one tells nothing: that of ranks other than 0.
  Progress(int64_t first_step, int64_t max_steps, bool speaks = true);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step_done(int64_t step, double loss, double tokens_per_second);  // moves the bar
  void evaluating(double fraction);
  void row_logged(const TrainRow& row);   // a line where there is no bar
  void message(const std::string& text);  // a line in any case, above the bar

 private:
  void draw(const std::string& text);
  std::string time_left(int64_t step) const;

  const bool speaks_, on_terminal_;
  int64_t first_step_, max_steps_;
  std::chrono::steady_clock::time_point start_, last_drawn_;
  bool bar_visible_ = false;
};

}  // namespace hone::trainer
