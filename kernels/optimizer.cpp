#include "kernels/optimizer.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/parallel.h"

namespace hone::kernels {
namespace {

constexpr int64_t kPiece = 1 << 16;  // part of what sum_of_squares means: never change it

AdamWConstants constants_of(const AdamW& o) {
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(o.step));
  return {.decay = static_cast<float>(1.0 - o.learning_rate * o.weight_decay),
          .beta1 = static_cast<float>(o.beta1),
          .beta2 = static_cast<float>(o.beta2),
          .one_minus_beta1 = static_cast<float>(1.0 - o.beta1),
          .one_minus_beta2 = static_cast<float>(1.0 - o.beta2),
          .step_size = static_cast<float>(o.learning_rate / correction1),
          .inverse_correction2_sqrt = static_cast<float>(1.0 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(o.epsilon),
          .grad_scale = static_cast<float>(o.grad_scale)};
}

// The same update in ATen, for tensors on another device.
void composite_update(const AdamW& o, at::Tensor& param, const at::Tensor& grad,
                      at::Tensor& exp_avg, at::Tensor& exp_avg_sq) {
  const at::Tensor g = grad * o.grad_scale;
  exp_avg.mul_(o.beta1).add_(g, 1.0 - o.beta1);
  exp_avg_sq.mul_(o.beta2).addcmul_(g, g, 1.0 - o.beta2);
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(o.step));
  const at::Tensor denominator = exp_avg_sq.sqrt().div_(std::sqrt(correction2)).add_(o.epsilon);
  param.mul_(1.0 - o.learning_rate * o.weight_decay)
      .addcdiv_(exp_avg, denominator, -o.learning_rate / correction1);
}

void check_flat(const at::Tensor& x, int64_t count, const char* name) {
  if (x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() == count) return;
  core::fail(core::ErrorKind::kInternal,
             {.what = "optimizer buffer of the wrong kind",
              .where = name,
              .got = std::to_string(x.numel()) + " elements of " + at::toString(x.scalar_type()),
              .expected = std::to_string(count) + " contiguous elements of Float"});
}

}  // namespace

void adamw_update(const AdamW& options, at::Tensor& param, const at::Tensor& grad,
                  at::Tensor& exp_avg, at::Tensor& exp_avg_sq) {
  if (!param.is_cpu() || param.scalar_type() != at::kFloat) {
    composite_update(options, param, grad, exp_avg, exp_avg_sq);
    return;
  }
  const int64_t count = param.numel();
  check_flat(param, count, "param");
  check_flat(grad, count, "grad");
  check_flat(exp_avg, count, "exp_avg");
  check_flat(exp_avg_sq, count, "exp_avg_sq");
  const AdamWConstants constants = constants_of(options);
  float *p = param.data_ptr<float>(), *m = exp_avg.data_ptr<float>(),
        *v = exp_avg_sq.data_ptr<float>();
  const float* g = grad.data_ptr<float>();
  for_pieces(count, kPiece, [&](int64_t begin, int64_t end) {
    cpu_kernels().adamw(constants, p + begin, g + begin, m + begin, v + begin, end - begin);
  });
}

double sum_of_squares(const at::Tensor& flat) {
  if (!flat.is_cpu() || flat.scalar_type() != at::kFloat) {
    return flat.to(at::kDouble).square().sum().item<double>();
  }
  const at::Tensor x = flat.contiguous();
  const int64_t count = x.numel();
  std::vector<double> sums(static_cast<size_t>((count + kPiece - 1) / kPiece));
  const float* values = x.data_ptr<float>();
  for_pieces(count, kPiece, [&](int64_t begin, int64_t end) {
    sums[static_cast<size_t>(begin / kPiece)] =
        cpu_kernels().sum_of_squares(values + begin, end - begin);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace hone::kernels
