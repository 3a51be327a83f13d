// What goes from one rank of the pipeline axis to the next: outputs of stages up, their gradients
// down.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <list>
#include <map>
#include <tuple>

#include "parallel/comm/pipeline_links.h"

namespace hone::trainer {

enum class MessageKind { kOutput, kGradient };

// Nothing here waits but `take` and `finish`. Outputs come from the rank below, gradients from the
// one above, and are received in the order in which they were sent.
class StageMessages {
 public:
  explicit StageMessages(parallel::PipelineLinks& links) : links_(links) {}

  // `buffer` is contiguous, and of the shape and dtype that is sent.
  void receive(MessageKind kind, int64_t stage, int64_t micro_batch, at::Tensor buffer);
  // What was to be received under these numbers, once it is there; undefined if nothing was.
  at::Tensor take(MessageKind kind, int64_t stage, int64_t micro_batch);

  void send(MessageKind kind, const at::Tensor& data);
  // Moves what is under way, and lets go of what was sent.
  void poll();
  void finish();                            // until all is sent
  int64_t bytes() const { return bytes_; }  // sent by this rank so far

 private:
  using Name = std::tuple<MessageKind, int64_t, int64_t>;
  struct Transfer {
    at::Tensor data;  // outlives the request
    parallel::Request request;
  };

  parallel::PipelineLinks& links_;
  std::map<Name, Transfer> receives_;
  std::list<Transfer> sends_;
  int64_t bytes_ = 0;
};

}  // namespace hone::trainer
