// Flat buffers whose memory comes and goes under the views into them: sharded parameters are there
// only while they are gathered. The views share the buffer's storage, so they need not be made
// anew. Without memory their data is a null pointer: whoever reads them then ends the process.
#pragma once

#include <ATen/ATen.h>

namespace hone::models {

// [count], with views as any tensor, and no memory yet.
at::Tensor flat_without_memory(int64_t count, at::ScalarType dtype, at::Device device);

// `memory` has the same dtype, device and number of elements, and is kept until it is detached.
void attach_memory(const at::Tensor& flat, const at::Tensor& memory);
void detach_memory(const at::Tensor& flat);
bool has_memory(const at::Tensor& flat);  // or needs none

}  // namespace hone::models
