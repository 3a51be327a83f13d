// Loops over the threads LibTorch uses. What is computed must not depend on which thread does it.
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace hone::kernels {

// body(begin, end) over [0, n) in pieces of `piece`; `body` must not throw.
template <typename Body>
void for_pieces(int64_t n, int64_t piece, const Body& body) {
  const int64_t count = (n + piece - 1) / piece;
  if (count == 0) return;
  const int threads = static_cast<int>(std::min<int64_t>(at::get_num_threads(), count));
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t i = 0; i < count; ++i) body(i * piece, std::min(n, (i + 1) * piece));
}

// body(task, thread) for tasks of uneven cost, taken in order by whichever thread is free.
template <typename Body>
void for_tasks(int64_t n, const Body& body) {
  if (n == 0) return;
  const int threads = static_cast<int>(std::min<int64_t>(at::get_num_threads(), n));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t i = 0; i < n; ++i) body(i, omp_get_thread_num());
}

}  // namespace hone::kernels
