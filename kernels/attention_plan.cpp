#include "kernels/attention_plan.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/autograd.h"
#include "kernels/parallel.h"

namespace hone::kernels {
namespace {

constexpr int64_t kRowPiece = 64;
constexpr int64_t kTasksPerThread = 8;
constexpr int64_t kMaxChunkBytes = int64_t{256} << 20;

// Blocks of every document; first_block[d] .. first_block[d + 1] are those of document d.
std::vector<int64_t> add_blocks(const std::vector<int32_t>& cu_doc_lens, AttentionPlan& plan) {
  std::vector<int64_t> first_block{0};
  int64_t offset = 0;
  for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
    for (int64_t begin = cu_doc_lens[d]; begin < cu_doc_lens[d + 1]; begin += kKeyBlock) {
      const int64_t end = std::min<int64_t>(begin + kKeyBlock, cu_doc_lens[d + 1]);
      const int64_t width = (end - begin + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
      plan.blocks.push_back({begin, end, width, offset});
      offset += width;
    }
    first_block.push_back(static_cast<int64_t>(plan.blocks.size()));
  }
  plan.transposed_size = offset;
  return first_block;
}

void add_tasks(const std::vector<int32_t>& cu_doc_lens, const std::vector<int64_t>& first_block,
               int64_t num_heads, int64_t rows_per_task, AttentionPlan& plan) {
  for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
    const int64_t doc_begin = cu_doc_lens[d], doc_end = cu_doc_lens[d + 1];
    for (int64_t begin = doc_begin, chunk = 0; begin < doc_end; begin += rows_per_task, ++chunk) {
      const int64_t end = std::min(begin + rows_per_task, doc_end);
      for (int64_t head = 0; head < num_heads; ++head) {
        plan.tasks.push_back({head, begin, end, first_block[d], first_block[d + 1], chunk});
      }
    }
  }
  const auto cost = [&](const QueryTask& t) {
    const int64_t start = plan.blocks[static_cast<size_t>(t.first_block)].begin;
    return (t.end - t.begin) * (t.begin + t.end - 2 * start);
  };
  std::stable_sort(plan.tasks.begin(), plan.tasks.end(),
                   [&](const QueryTask& a, const QueryTask& b) { return cost(a) > cost(b); });
}

int64_t longest_document(const std::vector<int32_t>& cu_doc_lens) {
  int64_t longest = 1;
  for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
    longest = std::max<int64_t>(longest, cu_doc_lens[d + 1] - cu_doc_lens[d]);
  }
  return longest;
}

[[noreturn]] void wrong(const std::string& what, const std::string& got,
                        const std::string& expected) {
  core::fail(core::ErrorKind::kInternal,
             {.what = what, .where = "attention", .got = got, .expected = expected});
}

}  // namespace

int64_t padded_head_dim(const AttentionShape& shape) {
  return (shape.head_dim + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
}

AttentionPlan plan_forward(const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape) {
  AttentionPlan plan;
  const std::vector<int64_t> first_block = add_blocks(cu_doc_lens, plan);
  add_tasks(cu_doc_lens, first_block, shape.num_heads, kQueryBlock, plan);
  return plan;
}

AttentionPlan plan_backward(const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                            int num_threads) {
  AttentionPlan plan;
  const std::vector<int64_t> first_block = add_blocks(cu_doc_lens, plan);
  const int64_t documents = std::max<int64_t>(1, static_cast<int64_t>(cu_doc_lens.size()) - 1);
  const int64_t longest = longest_document(cu_doc_lens), tokens = cu_doc_lens.back();
  const int64_t wanted = kTasksPerThread * num_threads / (shape.num_heads * documents);
  const int64_t bytes_each = 8 * shape.num_heads * tokens * padded_head_dim(shape);
  const int64_t affordable =
      std::max<int64_t>(1, kMaxChunkBytes / std::max<int64_t>(1, bytes_each));
  const int64_t chunks =
      std::clamp<int64_t>(num_threads > 1 ? wanted + 1 : 1, 1,
                          std::min(affordable, (longest + kQueryBlock - 1) / kQueryBlock));
  const int64_t rows = (longest + chunks - 1) / chunks;
  const int64_t rows_per_task = (rows + kQueryBlock - 1) / kQueryBlock * kQueryBlock;
  plan.num_chunks = (longest + rows_per_task - 1) / rows_per_task;
  add_tasks(cu_doc_lens, first_block, shape.num_heads, rows_per_task, plan);
  return plan;
}

void check_attention(const AttentionInput& input) {
  const AttentionShape& s = input.shape;
  const int64_t tokens = input.qkv_TC.size(0);
  const int64_t columns = (s.num_heads + 2 * s.num_kv_heads) * s.head_dim;
  if (s.num_kv_heads <= 0 || s.num_heads % s.num_kv_heads != 0 || s.head_dim % 2 != 0 ||
      s.head_dim > 1024) {
    wrong("head counts or head size",
          std::to_string(s.num_heads) + "/" + std::to_string(s.num_kv_heads) + " heads of " +
              std::to_string(s.head_dim),
          "query heads a multiple of key heads, an even head size of at most 1024");
  }
  if (input.qkv_TC.size(1) != columns) {
    wrong("width of q|k|v", std::to_string(input.qkv_TC.size(1)), std::to_string(columns));
  }
  if (input.cos_TN2.size(0) != tokens || input.cos_TN2.size(1) != s.head_dim / 2 ||
      input.sin_TN2.sizes() != input.cos_TN2.sizes()) {
    wrong("rotary tables", std::to_string(input.cos_TN2.size(0)) + " rows",
          std::to_string(tokens) + " rows of " + std::to_string(s.head_dim / 2));
  }
  const std::vector<int32_t>& cu = input.cu_doc_lens;
  if (cu.empty() || cu.front() != 0 || cu.back() != tokens ||
      !std::is_sorted(cu.begin(), cu.end())) {
    wrong("document offsets", cu.empty() ? "none" : std::to_string(cu.back()) + " tokens",
          "rising from 0 to " + std::to_string(tokens));
  }
}

RopeRows rope_rows(const AttentionInput& input, int64_t slot, int64_t begin, int64_t end) {
  const AttentionShape& s = input.shape;
  const int64_t half = s.head_dim / 2;
  RopeRows rows{.rows = end - begin, .head_dim = s.head_dim, .padded_dim = padded_head_dim(s)};
  if (slot >= s.num_heads + s.num_kv_heads) return rows;
  rows.cos = data<float>(input.cos_TN2) + begin * half;
  rows.sin = data<float>(input.sin_TN2) + begin * half;
  const Weight& norm = slot < s.num_heads ? input.q_norm_N : input.k_norm_N;
  rows.norm_w = data<float>(norm.value);
  rows.norm_eps = static_cast<float>(input.norm_eps);
  return rows;
}

at::Tensor pack_heads(const AttentionInput& input, int64_t first, int64_t count) {
  const int64_t tokens = input.qkv_TC.size(0), columns = input.qkv_TC.size(1);
  const int64_t dim = padded_head_dim(input.shape), head_dim = input.shape.head_dim;
  at::Tensor packed = at::empty({count, tokens, dim}, input.qkv_TC.options().dtype(at::kFloat));
  const int64_t pieces = (tokens + kRowPiece - 1) / kRowPiece;
  for_element_type(input.qkv_TC, [&]<typename T>(T*) {
    for_tasks(count * pieces, [&](int64_t task, int) {
      const int64_t head = task / pieces, begin = task % pieces * kRowPiece;
      const RopeRows rows =
          rope_rows(input, first + head, begin, std::min(tokens, begin + kRowPiece));
      typed<T>(cpu_kernels())
          .rope_forward(rows, data<T>(input.qkv_TC) + begin * columns + (first + head) * head_dim,
                        columns, data<float>(packed) + (head * tokens + begin) * dim);
    });
  });
  return packed;
}

at::Tensor transpose_heads(const AttentionPlan& plan, const at::Tensor& x_KTP) {
  const int64_t heads = x_KTP.size(0), tokens = x_KTP.size(1), dim = x_KTP.size(2);
  const int64_t num_blocks = static_cast<int64_t>(plan.blocks.size());
  at::Tensor out = at::empty({heads, plan.transposed_size * dim}, x_KTP.options());
  for_tasks(heads * num_blocks, [&](int64_t task, int) {
    const int64_t head = task / num_blocks;
    const KeyBlock& block = plan.blocks[static_cast<size_t>(task % num_blocks)];
    cpu_kernels().transpose_block(
        data<float>(x_KTP) + (head * tokens + block.begin) * dim, block.end - block.begin, dim,
        block.width, data<float>(out) + (head * plan.transposed_size + block.offset) * dim);
  });
  return out;
}

}  // namespace hone::kernels
