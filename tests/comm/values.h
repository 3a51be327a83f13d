// Buffers whose elements every rank can compute for every rank, and what their reductions must be,
// computed here another way than the library does.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/dtype.h"

namespace hone::test {

using Buffer = std::vector<std::byte>;

inline const std::vector<parallel::DType> kDTypes = {
    parallel::DType::kFloat32, parallel::DType::kBFloat16, parallel::DType::kFloat16,
    parallel::DType::kFloat64, parallel::DType::kInt32,    parallel::DType::kInt64,
    parallel::DType::kUInt8};

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("expected: " + what);
}

// Element i of `who`: numbers with rounding errors when summed, of both signs.
inline double value_at(int64_t i, int who) {
  const uint64_t hash =
      (static_cast<uint64_t>(i) * 2654435761U + static_cast<uint64_t>(who + 1) * 40503U) % 100003U;
  return (static_cast<double>(hash) - 50001.0) / 7.0;
}

// The stored element as a number again, and back.
inline double load(parallel::DType dtype, const std::byte* at) {
  const auto get = [&]<typename T>(T value) {
    std::memcpy(&value, at, sizeof(T));
    return value;
  };
  switch (dtype) {
    case parallel::DType::kFloat32:
      return get(float{});
    case parallel::DType::kBFloat16:
      return parallel::bfloat16_to_float(get(uint16_t{}));
    case parallel::DType::kFloat16:
      return parallel::float16_to_float(get(uint16_t{}));
    case parallel::DType::kFloat64:
      return get(double{});
    case parallel::DType::kInt32:
      return get(int32_t{});
    case parallel::DType::kInt64:
      return static_cast<double>(get(int64_t{}));
    case parallel::DType::kUInt8:
      return get(uint8_t{});
  }
  return 0;
}

inline void store(parallel::DType dtype, double value, std::byte* at) {
  const auto put = [&](auto stored) { std::memcpy(at, &stored, sizeof(stored)); };
  switch (dtype) {
    case parallel::DType::kFloat32:
      return put(static_cast<float>(value));
    case parallel::DType::kBFloat16:
      return put(parallel::float_to_bfloat16(static_cast<float>(value)));
    case parallel::DType::kFloat16:
      return put(parallel::float_to_float16(static_cast<float>(value)));
    case parallel::DType::kFloat64:
      return put(value);
    case parallel::DType::kInt32:
      return put(static_cast<int32_t>(value));
    case parallel::DType::kInt64:
      return put(static_cast<int64_t>(value));
    case parallel::DType::kUInt8:
      return put(static_cast<uint8_t>(static_cast<int64_t>(value)));
  }
}

template <typename F>
void refused(F call, const std::string& what) {
  try {
    call();
  } catch (const core::Error& error) {
    expect(error.kind() == core::ErrorKind::kInternal, what + ": the kind of error");
    return;
  }
  throw std::runtime_error(what + " was not refused");
}

inline Buffer values(parallel::DType dtype, int64_t count, int who) {
  const size_t size = parallel::dtype_size(dtype);
  Buffer buffer(static_cast<size_t>(count) * size);
  for (int64_t i = 0; i < count; ++i) {
    store(dtype, value_at(i, who), buffer.data() + static_cast<size_t>(i) * size);
  }
  return buffer;
}

// The tree of combine.h over leaves [low, high), one element, written as its definition: in float
// for all that is no wider.
inline double tree(parallel::DType dtype, parallel::ReduceOp op, const std::vector<double>& leaves,
                   size_t low, size_t high) {
  if (high - low == 1) return leaves[low];
  size_t left = 1;
  while (left * 2 < high - low) left *= 2;
  const double a = tree(dtype, op, leaves, low, low + left);
  const double b = tree(dtype, op, leaves, low + left, high);
  if (op == parallel::ReduceOp::kMax) return std::max(a, b);
  if (op == parallel::ReduceOp::kMin) return std::min(a, b);
  const bool wide = parallel::dtype_size(dtype) == 8 || dtype == parallel::DType::kInt32;
  return wide ? a + b : static_cast<double>(static_cast<float>(a) + static_cast<float>(b));
}

inline Buffer reduced(parallel::DType dtype, parallel::ReduceOp op, int64_t count, int ranks,
                      int shift = 0) {
  const size_t size = parallel::dtype_size(dtype);
  std::vector<Buffer> inputs;
  for (int r = 0; r < ranks; ++r) inputs.push_back(values(dtype, count, r + shift));
  Buffer out(static_cast<size_t>(count) * size);
  std::vector<double> leaves(static_cast<size_t>(ranks));
  for (size_t at = 0; at < out.size(); at += size) {
    for (size_t r = 0; r < leaves.size(); ++r) leaves[r] = load(dtype, inputs[r].data() + at);
    store(dtype, tree(dtype, op, leaves, 0, leaves.size()), out.data() + at);
  }
  return out;
}

// Counts of parts that differ: rank 1 has none.
inline std::vector<int64_t> ragged(int size, int64_t base) {
  std::vector<int64_t> counts;
  for (int r = 0; r < size; ++r) counts.push_back(r == 1 ? 0 : base * (r + 1) + r);
  return counts;
}

inline Buffer part(const Buffer& whole, size_t begin, size_t bytes) {
  return {whole.begin() + static_cast<ptrdiff_t>(begin),
          whole.begin() + static_cast<ptrdiff_t>(begin + bytes)};
}

inline void same(const Buffer& got, const Buffer& want, const std::string& what,
                 parallel::DType dtype, int64_t count) {
  if (got == want) return;
  size_t at = 0;
  while (at < got.size() && at < want.size() && got[at] == want[at]) ++at;
  const size_t size = parallel::dtype_size(dtype);
  throw std::runtime_error(what + " of " + std::to_string(count) + " " +
                           parallel::dtype_name(dtype) + ": element " + std::to_string(at / size) +
                           " differs");
}

}  // namespace hone::test
