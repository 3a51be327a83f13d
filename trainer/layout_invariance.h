// The same steps on the ranks of a layout and on one rank: loss and gradients must agree.
#pragma once

#include <string>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "trainer/invariance.h"

namespace hone::trainer {

struct LayoutVariant {
  std::string name;
  bool strict = false;               // of both sides
  double loss_bound = 0, bound = 0;  // of loss and gradient; 0: to the last bit
  // Every step starts at the weights of one rank. Where layers, tokens or stages are split, this is
  // what can be held to a bound: an update divides by the gradient's own size, so an element whose
  // terms cancel moves by their rounding.
  bool same_start = false;
};

// `one` is whole and `sharded` has the mesh's sharding; both start at the same weights. Every rank
// does the steps on one rank for itself, then all do them together; each side applies its own
// gradient between two steps, so updates are compared too (not with same_start). Differences are as
// of VariantDifference, the largest over steps and ranks. Collective over the mesh; changes the
// weights of both.
VariantDifference compare_layout(models::Model& one, models::Model& sharded, parallel::Mesh& mesh,
                                 const std::vector<std::vector<data::MicroBatch>>& steps,
                                 const LayoutVariant& variant, const InvarianceOptions& options);

}  // namespace hone::trainer
