#include "formats/gguf_names.h"

namespace hone::formats {
namespace {

// The tensors of one block.
class Block {
 public:
  Block(std::vector<GgufName>& names, int64_t layer)
      : names_(names),
        layer_(layer),
        from_("blk." + std::to_string(layer) + "."),
        to_("model.layers." + std::to_string(layer) + ".") {}

  void add(const std::string& gguf, const std::string& name, std::vector<int64_t> shape,
           int64_t rotary_heads = 0) {
    names_.push_back({from_ + gguf, to_ + name, std::move(shape), rotary_heads, layer_});
  }

 private:
  std::vector<GgufName>& names_;
  int64_t layer_;
  std::string from_, to_;
};

void add_attention(Block& block, const GgufModel& m) {
  const int64_t q = m.num_heads * m.head_dim, kv = m.num_kv_heads * m.head_dim;
  // Only the llama architecture has its rows moved.
  const bool moved = m.arch == "llama";
  const int64_t q_heads = moved ? m.num_heads : 0, kv_heads = moved ? m.num_kv_heads : 0;
  block.add("attn_q.weight", "self_attn.q_proj.weight", {q, m.hidden_size}, q_heads);
  block.add("attn_k.weight", "self_attn.k_proj.weight", {kv, m.hidden_size}, kv_heads);
  block.add("attn_v.weight", "self_attn.v_proj.weight", {kv, m.hidden_size});
  block.add("attn_output.weight", "self_attn.o_proj.weight", {m.hidden_size, q});
  if (m.attention_bias) {
    block.add("attn_q.bias", "self_attn.q_proj.bias", {q}, q_heads);
    block.add("attn_k.bias", "self_attn.k_proj.bias", {kv}, kv_heads);
    block.add("attn_v.bias", "self_attn.v_proj.bias", {kv});
    if (m.arch != "qwen2") block.add("attn_output.bias", "self_attn.o_proj.bias", {m.hidden_size});
  }
  if (m.arch == "qwen3") {
    block.add("attn_q_norm.weight", "self_attn.q_norm.weight", {m.head_dim});
    block.add("attn_k_norm.weight", "self_attn.k_norm.weight", {m.head_dim});
  }
}

void add_mlp(Block& block, const GgufModel& m) {
  const auto add = [&](const std::string& gguf, const std::string& name, int64_t rows,
                       int64_t columns) {
    block.add(gguf + ".weight", "mlp." + name + ".weight", {rows, columns});
    if (m.mlp_bias) block.add(gguf + ".bias", "mlp." + name + ".bias", {rows});
  };
  add("ffn_gate", "gate_proj", m.intermediate_size, m.hidden_size);
  add("ffn_up", "up_proj", m.intermediate_size, m.hidden_size);
  add("ffn_down", "down_proj", m.hidden_size, m.intermediate_size);
}

}  // namespace

std::vector<GgufName> gguf_tensor_names(const GgufModel& m) {
  std::vector<GgufName> names;
  names.push_back(
      {"token_embd.weight", "model.embed_tokens.weight", {m.vocab_size, m.hidden_size}});
  for (int64_t i = 0; i < m.num_layers; ++i) {
    Block block(names, i);
    block.add("attn_norm.weight", "input_layernorm.weight", {m.hidden_size});
    add_attention(block, m);
    block.add("ffn_norm.weight", "post_attention_layernorm.weight", {m.hidden_size});
    add_mlp(block, m);
  }
  names.push_back({"output_norm.weight", "model.norm.weight", {m.hidden_size}});
  if (!m.tied_head) {
    names.push_back({"output.weight", "lm_head.weight", {m.vocab_size, m.hidden_size}});
  }
  return names;
}

int64_t rotary_row(int64_t row, int64_t head_dim) {
  const int64_t half = head_dim / 2, r = row % head_dim;
  return row - r + 2 * (r % half) + r / half;
}

}  // namespace hone::formats
