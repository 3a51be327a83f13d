#include "parallel/comm/combine.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "core/error.h"

namespace hone::parallel {
namespace {

// Elements at a time: a tree of 2^k inputs needs k blocks beside the output, all in the first
// cache.
constexpr int64_t kBlock = 1024;

// How a stored element is computed with: 2-byte types in float32, the others as they are.
template <typename T>
struct Plain {
  using Stored = T;
  using Value = T;
  static T load(T x) { return x; }
  static T store(T x) { return x; }
};
struct BFloat16 {
  using Stored = uint16_t;
  using Value = float;
  static float load(uint16_t x) { return bfloat16_to_float(x); }
  static uint16_t store(float x) { return float_to_bfloat16(x); }
};
struct Float16 {
  using Stored = uint16_t;
  using Value = float;
  static float load(uint16_t x) { return float16_to_float(x); }
  static uint16_t store(float x) { return float_to_float16(x); }
};

template <ReduceOp op, typename V>
V apply(V a, V b) {
  if constexpr (op == ReduceOp::kSum) {
    if constexpr (std::is_integral_v<V>) {
      using Unsigned = std::make_unsigned_t<V>;  // wraps without being undefined
      return static_cast<V>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
      return a + b;
    }
  } else if constexpr (op == ReduceOp::kMax) {
    return (a > b || a != a) ? a : b;
  } else {
    return (a < b || a != a) ? a : b;
  }
}

// The loops, compiled for several widths of vector; the processor's is chosen when the program is
// loaded. The bits are the same: nothing in them can be contracted.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define HONE_WIDE [[gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define HONE_WIDE
#endif

template <typename Format>
HONE_WIDE void load_all(const typename Format::Stored* a, typename Format::Value* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = Format::load(a[i]);
}
template <typename Format, ReduceOp op>
HONE_WIDE void load_two(const typename Format::Stored* a, const typename Format::Stored* b,
                        typename Format::Value* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = apply<op, typename Format::Value>(Format::load(a[i]), Format::load(b[i]));
  }
}
template <typename Format, ReduceOp op>
HONE_WIDE void add_to(typename Format::Value* out, const typename Format::Value* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = apply<op, typename Format::Value>(out[i], b[i]);
}
template <typename Format>
HONE_WIDE void store_all(const typename Format::Value* a, typename Format::Stored* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = Format::store(a[i]);
}

template <typename Format, ReduceOp op>
class Tree {
 public:
  using Stored = typename Format::Stored;
  using Value = typename Format::Value;

  Tree(const std::vector<const void*>& inputs, int64_t first, int64_t n)
      : inputs_(inputs), first_(first), n_(n) {}

  // The subtree over inputs [low, high) into `out`; `scratch` has a block for each level below.
  void reduce(size_t low, size_t high, Value* out, Value* scratch) const {
    const Stored* a = leaf(low);
    if (high - low == 1) {
      load_all<Format>(a, out, n_);
    } else if (high - low == 2) {
      load_two<Format, op>(a, leaf(low + 1), out, n_);
    } else {
      const size_t middle = low + std::bit_floor(high - low - 1);
      reduce(low, middle, out, scratch);
      reduce(middle, high, scratch, scratch + kBlock);
      add_to<Format, op>(out, scratch, n_);
    }
  }

 private:
  const Stored* leaf(size_t i) const { return static_cast<const Stored*>(inputs_[i]) + first_; }

  const std::vector<const void*>& inputs_;
  int64_t first_, n_;
};

template <typename Format, ReduceOp op>
void combine(const std::vector<const void*>& inputs, void* output, int64_t count) {
  using Stored = typename Format::Stored;
  using Value = typename Format::Value;
  const int levels = std::bit_width(inputs.size()) + 1;
  std::vector<Value> blocks(static_cast<size_t>(levels + 1) * kBlock);
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t n = std::min(kBlock, count - first);
    Tree<Format, op>(inputs, first, n)
        .reduce(0, inputs.size(), blocks.data(), blocks.data() + kBlock);
    store_all<Format>(blocks.data(), static_cast<Stored*>(output) + first, n);
  }
}

template <typename Format>
void combine(ReduceOp op, const std::vector<const void*>& inputs, void* output, int64_t count) {
  switch (op) {
    case ReduceOp::kSum:
      return combine<Format, ReduceOp::kSum>(inputs, output, count);
    case ReduceOp::kMax:
      return combine<Format, ReduceOp::kMax>(inputs, output, count);
    case ReduceOp::kMin:
      return combine<Format, ReduceOp::kMin>(inputs, output, count);
  }
}

}  // namespace

void combine_tree(DType dtype, ReduceOp op, const std::vector<const void*>& inputs, void* output,
                  int64_t count) {
  if (inputs.empty()) core::fail(core::ErrorKind::kInternal, {.what = "nothing to combine"});
  switch (dtype) {
    case DType::kFloat32:
      return combine<Plain<float>>(op, inputs, output, count);
    case DType::kBFloat16:
      return combine<BFloat16>(op, inputs, output, count);
    case DType::kFloat16:
      return combine<Float16>(op, inputs, output, count);
    case DType::kFloat64:
      return combine<Plain<double>>(op, inputs, output, count);
    case DType::kInt32:
      return combine<Plain<int32_t>>(op, inputs, output, count);
    case DType::kInt64:
      return combine<Plain<int64_t>>(op, inputs, output, count);
    case DType::kUInt8:
      return combine<Plain<uint8_t>>(op, inputs, output, count);
  }
}

}  // namespace hone::parallel
