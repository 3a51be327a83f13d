#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "kernels/autograd.h"
#include "kernels/parallel.h"

namespace hone::kernels {
namespace {

constexpr int64_t kElementPiece = 16384;

void apply_mask(const at::Tensor& src, const at::Tensor& dst, const Lora& lora, bool accumulate) {
  const DropoutKey key = dropout_key(lora);
  const int64_t width = src.size(1);
  const int64_t columns = lora.dropout_columns > 0 ? lora.dropout_columns : width;
  const int64_t first = lora.dropout_first_row * columns + lora.dropout_first_column;
  // Elements follow each other in the mask as they do in memory: all of them, or those of a row.
  const auto run = [&]<typename T>(T*, int64_t begin, int64_t end, int64_t number) {
    typed<T>(cpu_kernels())
        .dropout(key, data<T>(src) + begin, data<T>(dst) + begin, number, end - begin, accumulate);
  };
  for_element_type(src, [&]<typename T>(T* type) {
    if (width == columns) {
      for_pieces(src.numel(), kElementPiece,
                 [&](int64_t begin, int64_t end) { run(type, begin, end, first + begin); });
      return;
    }
    const int64_t piece = std::max<int64_t>(1, kElementPiece / std::max<int64_t>(1, width));
    for_pieces(src.size(0), piece, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        run(type, row * width, (row + 1) * width, first + row * columns);
    });
  });
}

}  // namespace

DropoutKey dropout_key(const Lora& lora) {
  const double p = lora.dropout;
  // The same folding of the step into the key as core::random_bits.
  return {.key = lora.dropout_seed ^ (lora.dropout_step * 0x9E3779B97F4A7C15ull),
          .stream = lora.dropout_stream,
          .site = static_cast<uint32_t>(core::RngSite::kLoraDropout),
          .threshold = static_cast<uint32_t>(std::min(std::round(p * 4294967296.0), 4294967295.0)),
          .keep_scale = static_cast<float>(1.0 / (1.0 - p))};
}

at::Tensor dropped(const at::Tensor& x_TD, const Lora& lora) {
  at::Tensor y = at::empty_like(x_TD);
  apply_mask(x_TD, y, lora, false);
  return y;
}

void add_dropped(at::Tensor& into_TD, const at::Tensor& g_TD, const Lora& lora) {
  apply_mask(g_TD, into_TD, lora, true);
}

at::Tensor dropout_factors(int64_t rows, int64_t columns, const Lora& lora) {
  return dropped(at::ones({rows, columns}, at::kFloat), lora);
}

}  // namespace hone::kernels
