#include "models/rope.h"

#include <cmath>
#include <numbers>

namespace hone::models {
namespace {

// The arithmetic stays in float32 tensors, in transformers' order of operations, so tables agree to
// the last bit.
at::Tensor llama3_frequencies(const RopeSpec& rope, const at::Tensor& frequencies) {
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  const double low_wavelength = context / rope.low_freq_factor;
  const double high_wavelength = context / rope.high_freq_factor;
  const at::Tensor wavelength = 2 * std::numbers::pi / frequencies;
  const at::Tensor scaled =
      at::where(wavelength > low_wavelength, frequencies / rope.factor, frequencies);
  const at::Tensor smooth = (context / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor smoothed = (1 - smooth) * scaled / rope.factor + smooth * scaled;
  const at::Tensor medium =
      at::logical_not(wavelength < high_wavelength) * at::logical_not(wavelength > low_wavelength);
  return at::where(medium, smoothed, scaled);
}

}  // namespace

at::Tensor inverse_frequencies(const RopeSpec& rope, int64_t head_dim) {
  const at::Tensor exponent =
      at::arange(0, head_dim, 2, at::TensorOptions().dtype(at::kFloat)) / head_dim;
  const at::Tensor frequencies = 1.0 / at::pow(at::Scalar(rope.theta), exponent);
  switch (rope.kind) {
    case RopeKind::kLinear:
      return frequencies / rope.factor;
    case RopeKind::kLlama3:
      return llama3_frequencies(rope, frequencies);
    case RopeKind::kDefault:
      break;
  }
  return frequencies;
}

std::pair<at::Tensor, at::Tensor> rope_tables(const RopeSpec& rope, int64_t head_dim,
                                              const at::Tensor& positions_T) {
  const at::Tensor frequencies = inverse_frequencies(rope, head_dim).to(positions_T.device());
  const at::Tensor angles = positions_T.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return {angles.cos(), angles.sin()};
}

}  // namespace hone::models
