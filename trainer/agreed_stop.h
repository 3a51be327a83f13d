// One rank is asked to stop, all do: after the same step.
#pragma once

#include "parallel/comm/mesh.h"
#include "trainer/signals.h"

namespace hone::trainer {

class AgreedStop {
 public:
  explicit AgreedStop(parallel::Mesh& mesh) : mesh_(mesh) {}

  // Collective. Whether any rank was asked to; all know from here on.
  bool agree() {
    int32_t number = signals_.number();
    mesh_.host.all_reduce(&number, &number, 1, parallel::DType::kInt32, parallel::ReduceOp::kMax);
    number_ = number;
    return agreed();
  }

  // Collective over the tensor and pipeline axes: whether any of their ranks was asked to.
  bool requested_in_model() const {
    int32_t requested = signals_.requested() ? 1 : 0;
    for (const parallel::Communicator* axis : {&mesh_.tensor, &mesh_.pipeline}) {
      parallel::Communicator(axis->backend()->host())
          .all_reduce(&requested, &requested, 1, parallel::DType::kInt32, parallel::ReduceOp::kMax);
    }
    return requested != 0;
  }

  bool agreed() const { return number_ != 0; }
  int number() const { return number_; }  // the signal that all know of

 private:
  parallel::Mesh& mesh_;
  StopSignals signals_;
  int number_ = 0;
};

}  // namespace hone::trainer
