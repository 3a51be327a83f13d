#include "models/spec/stage_bytes.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "core/error.h"
#include "models/spec/shard_plan.h"

namespace hone::models {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kLanes = 16;  // heads are padded to whole vectors while attention is computed
// Of kernels/head_loss.cpp: rows whose logits are there at a time.
constexpr int64_t kLogitBytes = int64_t{200} << 20, kMinChunkRows = 256;

// Bytes that are there at a time, and the most that were.
class Meter {
 public:
  void take(int64_t bytes) {
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }
  void give(int64_t bytes) { live_ -= bytes; }
  void pass(int64_t bytes) {  // needed for a moment
    take(bytes);
    give(bytes);
  }
  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }

 private:
  int64_t live_ = 0, peak_ = 0;
};

int64_t part_of(int64_t count, int64_t parts) { return (count + parts - 1) / parts; }

// Linear modules that are one product.
struct Linear {
  bool trains = false;       // the weight, or a part of it
  int64_t num_adapters = 0;  // one beside the other
  int64_t weight_copy = 0;   // bytes of a weight gradient before it is added in float32
  bool keeps_input() const { return trains || num_adapters > 0; }
};

// Widths of a block on this rank, and bytes of its activations. `t`: this rank's part of the
// context axis, `r`: its rows of that, `all`: every token.
struct Block {
  Linear qkv, o, gate_up, down;
  bool splits = false;                         // over the tensor axis
  bool exchanges = false;                      // tokens for heads, or reorders heads
  bool returns = false;                        // exchanges back
  int64_t row_hidden = 0, row_statistics = 0;  // [r, D], [r]
  int64_t hidden = 0, qkv_out = 0, mixed = 0, gate_up_out = 0, gated = 0;  // [t, ...]
  int64_t heads_in = 0, heads_out = 0, log_sums = 0;                       // [all, ...]
  int64_t heads_out_float = 0;                                             // heads_out in float32
  int64_t packed_forward = 0, packed_backward = 0;                         // float copies
  int64_t sent_in = 0, sent_out = 0;                                       // both buffers
  int64_t down_rows = 0;                                                   // [t, R] of one adapter
  bool has_dropout = false;
};

class Counter {
 public:
  Counter(const ModelSpec& spec, const TrainedModules& trained, const MicroBatchShape& shape)
      : spec_(spec),
        trained_(trained),
        shape_(shape),
        tp_(shape.slicer.count),
        tokens_(part_of(shape.tokens, shape.cp)),
        rows_(part_of(tokens_, tp_)) {}

  StageBytes embedding() const;
  StageBytes block(int64_t index) const;
  StageBytes head() const;

 private:
  int64_t element() const { return shape_.element_bytes; }
  int64_t rows_of(int64_t columns) const { return rows_ * columns * element(); }
  int64_t tokens_of(int64_t columns) const { return tokens_ * columns * element(); }
  bool has(const std::vector<std::string>& paths, const std::string& path) const {
    return std::ranges::find(paths, path) != paths.end();
  }
  int64_t adapters(const std::string& path) const { return has(trained_.adapted, path) ? 1 : 0; }
  bool trains(const std::string& path) const {
    return trained_.everything || has(trained_.saved, path);
  }
  Linear linear(const std::string& prefix, std::initializer_list<const char*> names,
                int64_t num_elements) const;
  Block sizes_of(int64_t index) const;
  void size_attention(Block& block) const;

  const ModelSpec& spec_;
  const TrainedModules& trained_;
  const MicroBatchShape shape_;
  const int64_t tp_, tokens_, rows_;
};

Linear Counter::linear(const std::string& prefix, std::initializer_list<const char*> names,
                       int64_t num_elements) const {
  Linear linear;
  for (const char* name : names) {
    linear.trains = linear.trains || trains(prefix + name);
    linear.num_adapters += adapters(prefix + name);
  }
  if (linear.trains && element() < kFloat) linear.weight_copy = num_elements * element();
  return linear;
}

// Heads of this rank, before and after tokens are exchanged for heads.
void Counter::size_attention(Block& block) const {
  const LocalHeads local = local_heads(spec_, shape_.slicer, shape_.cp);
  const int64_t dim = spec_.head_dim, all = shape_.tokens;
  const int64_t heads = local.num_heads / shape_.cp, kv_heads = heads / local.group;
  bool is_in_place = kv_heads == local.num_kv_heads;
  for (size_t i = 0; i < local.kv_of_group.size(); ++i)
    is_in_place = is_in_place && local.kv_of_group[i] == static_cast<int64_t>(i);
  block.returns = shape_.cp > 1;
  block.exchanges = block.returns || !is_in_place;
  block.qkv_out = tokens_of((local.num_heads + 2 * local.num_kv_heads) * dim);
  block.mixed = tokens_of(local.num_heads * dim);
  block.heads_in = all * (heads + 2 * kv_heads) * dim * element();
  block.heads_out = all * heads * dim * element();
  block.heads_out_float = all * heads * dim * kFloat;
  block.log_sums = all * heads * kFloat;
  const int64_t head = all * part_of(dim, kLanes) * kLanes * kFloat;
  block.packed_forward = head * (heads + 3 * kv_heads);
  // Both of keys and values, transposed too; gradients of output, queries, keys and values by head.
  block.packed_backward = head * (heads + 4 * kv_heads + 4 * heads) + block.log_sums;
  // Of all heads at once. In chunks (ComputeGroups::head_chunks, over NCCL) the packed copies are
  // of one chunk, beside which buffers of the others are there: less where this kernel computes.
  if (block.returns) {
    const int64_t padded = part_of(all, shape_.cp) * shape_.cp * element();
    block.sent_in = 2 * padded * (heads + 2 * kv_heads) * dim;
    block.sent_out = 2 * padded * heads * dim;
  }
}

Block Counter::sizes_of(int64_t index) const {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t hidden = spec_.hidden_size, width = part_of(spec_.intermediate_size, tp_);
  Block block;
  size_attention(block);
  const int64_t heads = spec_.num_heads * spec_.head_dim / tp_;
  const int64_t kv = 2 * spec_.num_kv_heads * spec_.head_dim / tp_;
  block.qkv = linear(attention, {"q_proj", "k_proj", "v_proj"}, hidden * (heads + kv));
  block.o = linear(attention, {"o_proj"}, hidden * heads);
  block.gate_up = linear(mlp, {"gate_proj", "up_proj"}, 2 * hidden * width);
  block.down = linear(mlp, {"down_proj"}, hidden * width);
  block.splits = tp_ > 1;
  block.row_hidden = rows_of(hidden);
  block.row_statistics = rows_ * kFloat;
  block.hidden = tokens_of(hidden);
  block.gate_up_out = tokens_of(2 * width);
  block.gated = tokens_of(width);
  block.down_rows = tokens_of(trained_.lora_rank);
  block.has_dropout = trained_.has_dropout;
  return block;
}

// As block_forward (models/decoder.cpp) does, whose local values live until it returns. Leaves what
// is kept, and the output.
Meter block_forward(const Block& b, bool keeps_graph) {
  Meter m;
  const auto product = [&](const Linear& linear, int64_t input, int64_t output) {
    m.take(output);
    const int64_t down = linear.num_adapters * b.down_rows;
    m.take(down);
    if (linear.num_adapters > 0 && b.has_dropout) m.pass(input);
    if (!keeps_graph) m.give(down);
  };
  const auto column_parallel = [&](const Linear& linear, int64_t output) {
    if (b.splits) m.take(b.hidden);
    product(linear, b.hidden, output);
    if (b.splits && !(keeps_graph && linear.keeps_input())) m.give(b.hidden);
  };
  const auto row_parallel = [&](const Linear& linear, int64_t input) {
    product(linear, input, b.hidden);
    if (!b.splits) return;
    m.take(b.row_hidden);
    m.give(b.hidden);
  };
  const auto local_input_is_kept = [&](const Linear& linear) {
    return keeps_graph && !b.splits && linear.keeps_input();
  };

  m.take(b.row_hidden + b.row_statistics);  // first norm
  column_parallel(b.qkv, b.qkv_out);
  if (b.exchanges) {
    m.take(b.heads_in);
    m.pass(b.sent_in);
  }
  m.take(b.log_sums + b.heads_out_float);
  m.pass(b.packed_forward);
  if (b.heads_out != b.heads_out_float) {
    m.take(b.heads_out);
    m.give(b.heads_out_float);
  }
  if (b.returns) {
    m.take(b.mixed);
    m.pass(b.sent_out);
    if (!keeps_graph) m.give(b.heads_out);
  }
  if (b.exchanges) m.give(b.qkv_out);
  if (!keeps_graph) m.give((b.exchanges ? b.heads_in : b.qkv_out) + b.log_sums);
  row_parallel(b.o, b.mixed);
  m.take(2 * b.row_hidden + b.row_statistics);  // their sum, second norm
  column_parallel(b.gate_up, b.gate_up_out);
  m.take(b.gated);
  if (!keeps_graph) m.give(b.gate_up_out);
  row_parallel(b.down, b.gated);
  m.take(b.row_hidden);  // output

  m.give(2 * b.row_hidden);  // terms of the sums
  if (!local_input_is_kept(b.qkv)) m.give(b.row_hidden);
  if (!local_input_is_kept(b.gate_up)) m.give(b.row_hidden);
  if (!(keeps_graph && b.down.keeps_input())) m.give(b.gated);
  const bool mixed_is_kept = keeps_graph && (!b.returns || b.o.keeps_input());
  if (!mixed_is_kept) m.give(b.mixed);
  if (!keeps_graph) m.give(b.row_hidden + 2 * b.row_statistics);
  return m;
}

// What is there in a backward that began with `graph`, without output and gradient of the output.
// What a node kept goes when it is done, but for what is in its state: statistics, log-sums and
// what adapters made.
Meter block_backward(const Block& b, int64_t graph) {
  Meter m;
  m.take(graph);
  // From the output's gradient to the input's; `gives` is the former.
  const auto product = [&](const Linear& linear, int64_t input, int64_t gives, bool frees_input) {
    m.take(input);
    m.pass(linear.weight_copy);
    if (linear.num_adapters > 0) {
      m.pass((b.has_dropout ? input : 0) + 2 * linear.num_adapters * b.down_rows);
    }
    m.give(gives);
    if (frees_input && linear.keeps_input()) m.give(input);
  };
  const auto column_parallel = [&](const Linear& linear, int64_t output) {
    product(linear, b.hidden, output, true);
    if (!b.splits) return;
    m.take(b.row_hidden);
    m.give(b.hidden);
  };
  // The gradient of its output has other users.
  const auto row_parallel = [&](const Linear& linear, int64_t input, bool frees_input) {
    if (b.splits) m.take(b.hidden);
    product(linear, input, b.splits ? b.hidden : 0, frees_input);
  };

  row_parallel(b.down, b.gated, true);
  m.take(b.gate_up_out);
  m.give(b.gated + b.gate_up_out);
  column_parallel(b.gate_up, b.gate_up_out);
  m.take(b.row_hidden);      // second norm: gradient of the input, to which more is added
  m.give(2 * b.row_hidden);  // of the norm's output; the norm's input
  row_parallel(b.o, b.mixed, b.returns);
  if (b.returns) {
    m.take(b.heads_out);
    m.pass(b.sent_out);
    m.give(b.mixed);
  }
  const int64_t attention_in = b.exchanges ? b.heads_in : b.qkv_out;
  m.take(attention_in);
  m.pass(b.packed_backward);
  m.give(2 * b.heads_out + attention_in);  // gradient, output, input
  if (b.exchanges) {
    m.take(b.qkv_out);
    m.pass(b.sent_in);
    m.give(b.heads_in);
  }
  column_parallel(b.qkv, b.qkv_out);
  m.take(b.row_hidden);  // first norm
  m.give(2 * b.row_hidden);
  return m;
}

StageBytes Counter::block(int64_t index) const {
  const Block sizes = sizes_of(index);
  const int64_t output = sizes.row_hidden;
  const Meter with_graph = block_forward(sizes, true), without = block_forward(sizes, false);
  const int64_t graph = with_graph.live() - output;
  const Meter backward = block_backward(sizes, graph);
  return {.output = output,
          .graph = graph,
          .forward_work = without.peak() - output,
          .graph_work = with_graph.peak() - with_graph.live(),
          .backward_work = std::max<int64_t>(0, backward.peak() - graph - sizes.row_hidden)};
}

StageBytes Counter::embedding() const {
  const int64_t output = rows_of(spec_.hidden_size), whole = tokens_of(spec_.hidden_size);
  const bool is_adapted = adapters("model.embed_tokens") > 0;
  StageBytes bytes{.output = output};
  // A rank of the tensor axis finds its tokens' rows and puts them among zeros.
  const int64_t found = whole / tp_;
  if (is_adapted) {
    bytes.forward_work = 3 * found;
    bytes.backward_work = tokens_of(spec_.hidden_size) / element() * kFloat / tp_;
  }
  if (tp_ > 1) {
    bytes.forward_work = std::max(bytes.forward_work, found + 2 * whole);
    bytes.backward_work += whole + found;
  }
  bytes.graph_work = bytes.forward_work;
  return bytes;
}

// All of it is there within one action: a chunk of rows at a time, with the loss and both
// gradients.
StageBytes Counter::head() const {
  const int64_t hidden = spec_.hidden_size, vocabulary = part_of(spec_.vocab_size, tp_);
  const Linear linear = this->linear("", {"lm_head"}, vocabulary * hidden);
  const int64_t whole = tokens_of(hidden), row_hidden = rows_of(hidden);
  const int64_t chunk =
      std::min(tokens_, std::max(kLogitBytes / (vocabulary * kFloat), kMinChunkRows));
  Meter m;
  m.take(row_hidden + rows_ * kFloat);
  if (tp_ > 1) m.take(whole);
  m.take(2 * whole);  // the trained rows, and their gradients
  m.take(chunk * vocabulary * element());
  m.pass(chunk * hidden * element() + linear.weight_copy);
  if (linear.num_adapters > 0) {
    const int64_t dropped = trained_.has_dropout ? chunk * hidden * element() : 0;
    m.pass(chunk * hidden * element() + dropped + 2 * chunk * trained_.lora_rank * element());
  }
  m.give(chunk * vocabulary * element());
  m.take(whole);      // gradients among zeros
  m.give(2 * whole);  // of the trained rows
  if (tp_ > 1) m.take(row_hidden);
  m.take(row_hidden);
  return {.output = 0, .graph = std::max<int64_t>(0, m.peak() - row_hidden)};
}

}  // namespace

std::vector<StageBytes> stage_bytes(const ModelSpec& spec, const TrainedModules& trained,
                                    const MicroBatchShape& shape) {
  const Counter counter(spec, trained, shape);
  std::vector<StageBytes> bytes{counter.embedding()};
  for (int64_t layer = 0; layer < spec.num_layers(); ++layer) bytes.push_back(counter.block(layer));
  bytes.push_back(counter.head());
  return bytes;
}

int64_t batch_bytes(const ModelSpec& spec, const MicroBatchShape& shape) {
  constexpr int64_t kId = 8;
  return 2 * kId * part_of(shape.tokens, shape.cp) + kFloat * shape.tokens * spec.head_dim;
}

void fill_bytes(std::vector<parallel::StageDescriptor>& stages,
                const std::vector<StageBytes>& bytes) {
  if (stages.size() != bytes.size()) {
    core::fail(core::ErrorKind::kInternal, {.what = "bytes of another number of stages"});
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    stages[i].output_bytes = bytes[i].output;
    stages[i].graph_bytes = bytes[i].graph;
    stages[i].forward_work_bytes = bytes[i].forward_work;
    stages[i].graph_work_bytes = bytes[i].graph_work;
    stages[i].backward_work_bytes = bytes[i].backward_work;
  }
}

}  // namespace hone::models
