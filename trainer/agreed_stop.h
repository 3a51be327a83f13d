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

  bool agreed() const { return number_ != 0; }
  int number() const { return number_; }                        // the signal that all know of
  bool requested_here() const { return signals_.requested(); }  // what only this rank may know yet

 private:
  parallel::Mesh& mesh_;
  StopSignals signals_;
  int number_ = 0;
};

}  // namespace hone::trainer
