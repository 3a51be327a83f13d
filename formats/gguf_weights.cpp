#include "formats/gguf_weights.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "formats/dtype.h"

namespace hone::formats {
namespace {

using Shape = std::vector<int64_t>;

// Gathers the weights and everything that is wrong with them.
class Matcher {
 public:
  Matcher(const GgufFile& file) : file_(file) {}

  void add(const std::string& from, const std::string& to, const Shape& shape,
           int64_t rotary_heads = 0) {
    const GgufTensor* source = file_.find_tensor(from);
    if (source == nullptr) {
      problems_.push_back("tensor \"" + from + "\" is missing");
      return;
    }
    used_.insert(from);
    if (source->shape != shape) {
      problems_.push_back("tensor \"" + from + "\" has the shape " + format_shape(source->shape) +
                          ", expected " + format_shape(shape));
    }
    weights_.push_back({source, to, rotary_heads});
  }

  std::vector<GgufWeight> finish() {
    for (const GgufTensor& t : file_.tensors()) {
      if (!used_.contains(t.name) && t.name != "rope_freqs.weight") {
        problems_.push_back("tensor \"" + t.name + "\" is no part of this architecture");
      }
    }
    if (problems_.empty()) return std::move(weights_);
    constexpr size_t kShown = 10;
    std::string text;
    for (size_t i = 0; i < std::min(problems_.size(), kShown); ++i) {
      text += (i > 0 ? "; " : "") + problems_[i];
    }
    if (problems_.size() > kShown)
      text += "; and " + std::to_string(problems_.size() - kShown) + " more";
    core::fail(core::ErrorKind::kBadInput, {.what = text, .where = file_.path()});
  }

 private:
  const GgufFile& file_;
  std::vector<GgufWeight> weights_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

void add_attention(Matcher& matcher, const GgufModel& m, const std::string& from,
                   const std::string& to) {
  const int64_t q = m.num_heads * m.head_dim, kv = m.num_kv_heads * m.head_dim;
  // Only the llama converter moves rows, from the two halves of each head to alternating pairs.
  const bool moved = m.arch == "llama";
  const int64_t q_heads = moved ? m.num_heads : 0, kv_heads = moved ? m.num_kv_heads : 0;
  matcher.add(from + "attn_q.weight", to + "q_proj.weight", {q, m.hidden_size}, q_heads);
  matcher.add(from + "attn_k.weight", to + "k_proj.weight", {kv, m.hidden_size}, kv_heads);
  matcher.add(from + "attn_v.weight", to + "v_proj.weight", {kv, m.hidden_size});
  matcher.add(from + "attn_output.weight", to + "o_proj.weight", {m.hidden_size, q});
  if (m.attention_bias) {
    matcher.add(from + "attn_q.bias", to + "q_proj.bias", {q}, q_heads);
    matcher.add(from + "attn_k.bias", to + "k_proj.bias", {kv}, kv_heads);
    matcher.add(from + "attn_v.bias", to + "v_proj.bias", {kv});
    if (m.arch != "qwen2")
      matcher.add(from + "attn_output.bias", to + "o_proj.bias", {m.hidden_size});
  }
  if (m.arch == "qwen3") {
    matcher.add(from + "attn_q_norm.weight", to + "q_norm.weight", {m.head_dim});
    matcher.add(from + "attn_k_norm.weight", to + "k_norm.weight", {m.head_dim});
  }
}

void add_mlp(Matcher& matcher, const GgufModel& m, const std::string& from, const std::string& to) {
  const auto add = [&](const std::string& gguf, const std::string& name, int64_t rows,
                       int64_t columns) {
    matcher.add(from + gguf + ".weight", to + name + ".weight", {rows, columns});
    if (m.mlp_bias) matcher.add(from + gguf + ".bias", to + name + ".bias", {rows});
  };
  add("ffn_gate", "gate_proj", m.intermediate_size, m.hidden_size);
  add("ffn_up", "up_proj", m.intermediate_size, m.hidden_size);
  add("ffn_down", "down_proj", m.hidden_size, m.intermediate_size);
}

// Row 2j + p of a head in the file is row p * half + j of Hugging Face's half-rotation layout.
std::vector<float> restore_rotary_rows(const std::vector<float>& rows, int64_t head_dim,
                                       int64_t columns) {
  std::vector<float> restored(rows.size());
  const int64_t half = head_dim / 2;
  const int64_t num_rows = static_cast<int64_t>(rows.size()) / columns;
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t head = row / head_dim, r = row % head_dim;
    const int64_t target = head * head_dim + (r % 2) * half + r / 2;
    std::copy_n(rows.begin() + row * columns, columns, restored.begin() + target * columns);
  }
  return restored;
}

}  // namespace

std::vector<GgufWeight> match_gguf_weights(const GgufFile& file, const GgufModel& m) {
  Matcher matcher(file);
  matcher.add("token_embd.weight", "model.embed_tokens.weight", {m.vocab_size, m.hidden_size});
  for (int64_t i = 0; i < m.num_layers; ++i) {
    const std::string from = "blk." + std::to_string(i) + ".";
    const std::string to = "model.layers." + std::to_string(i) + ".";
    matcher.add(from + "attn_norm.weight", to + "input_layernorm.weight", {m.hidden_size});
    add_attention(matcher, m, from, to + "self_attn.");
    matcher.add(from + "ffn_norm.weight", to + "post_attention_layernorm.weight", {m.hidden_size});
    add_mlp(matcher, m, from, to + "mlp.");
  }
  matcher.add("output_norm.weight", "model.norm.weight", {m.hidden_size});
  if (!m.tied_head) matcher.add("output.weight", "lm_head.weight", {m.vocab_size, m.hidden_size});
  return matcher.finish();
}

void read_gguf_weight(const GgufFile& file, const GgufWeight& weight,
                      const std::function<void(uint64_t, const std::vector<float>&)>& use) {
  constexpr int64_t kPieceElements = 1 << 22;
  const GgufTensor& t = *weight.source;
  const GgmlTypeInfo& info = ggml_type_info(t.type);
  const int64_t numel = static_cast<int64_t>(*shape_numel(t.shape));
  const bool is_matrix = t.shape.size() == 2;
  const int64_t columns = is_matrix ? t.shape[1] : 1;
  const int64_t rows = columns > 0 ? numel / columns : 0;
  const int64_t head_dim = weight.rotary_heads > 0 ? rows / weight.rotary_heads : 1;
  // A vector is one piece; a matrix is cut between rows, and between heads where rows move.
  const int64_t fitting =
      std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, columns * head_dim));
  const int64_t piece_rows = is_matrix ? fitting * head_dim : std::max<int64_t>(1, rows);
  for (int64_t row = 0; row < rows; row += piece_rows) {
    const uint64_t first = static_cast<uint64_t>(row * columns);
    const uint64_t count = static_cast<uint64_t>(std::min(piece_rows, rows - row) * columns);
    std::vector<float> values(count);
    dequantize(t.type,
               file.bytes(t).subspan(first / info.block_elements * info.block_bytes,
                                     count / info.block_elements * info.block_bytes),
               values);
    if (weight.rotary_heads > 0) values = restore_rotary_rows(values, head_dim, columns);
    use(first, values);
  }
}

}  // namespace hone::formats
