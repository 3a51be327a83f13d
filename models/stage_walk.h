// One forward over all stages, wherever they are on the pipeline axis.
#pragma once

#include <ATen/ATen.h>

#include <functional>

#include "models/model.h"

namespace hone::models {

// For one stage of this rank after the other, so that what one rank sends the next receives:
// `x_TD`, what the stage below made here, or what another rank made; and the stage's output to the
// rank that has the next, if that is another.
at::Tensor input_of_stage(const Model& model, const Batch& batch, size_t stage,
                          const at::Tensor& x_TD);
void hand_on(const Model& model, size_t stage, const at::Tensor& x_TD);

// Calls run(stage, x) for the stages before the head that this rank computes, in order; an
// activation that another rank made is received, one that another needs is sent. Returns the head's
// input on the rank that computes the head, undefined elsewhere. Collective over the pipeline axis.
at::Tensor walk_stages(const Model& model, const Batch& batch,
                       const std::function<at::Tensor(size_t stage, const at::Tensor& x_TD)>& run);

// float32 logits [rows, V] of the rows of the head's input, all rows where `rows` is undefined: on
// every rank. Collective over the tensor and pipeline axes.
at::Tensor logits_everywhere(const Model& model, const Batch& batch, const at::Tensor& x_TD,
                             const at::Tensor& rows);

}  // namespace hone::models
