#include "models/spec/model_spec.h"

namespace hone::models {
namespace {

class TableBuilder {
 public:
  void stage(int64_t index, std::string prefix) {
    stage_ = index;
    prefix_ = std::move(prefix);
  }
  void add(const std::string& name, std::vector<int64_t> shape) {
    table_.push_back({prefix_ + name, std::move(shape), stage_});
  }
  std::vector<ParameterSpec> take() { return std::move(table_); }

 private:
  std::vector<ParameterSpec> table_;
  std::string prefix_;
  int64_t stage_ = 0;
};

void add_block(const ModelSpec& spec, TableBuilder& table) {
  const int64_t q_rows = spec.num_heads * spec.head_dim;
  const int64_t kv_rows = spec.num_kv_heads * spec.head_dim;
  table.add("input_layernorm.weight", {spec.hidden_size});
  table.add("self_attn.q_proj.weight", {q_rows, spec.hidden_size});
  table.add("self_attn.k_proj.weight", {kv_rows, spec.hidden_size});
  table.add("self_attn.v_proj.weight", {kv_rows, spec.hidden_size});
  if (spec.q_bias) table.add("self_attn.q_proj.bias", {q_rows});
  if (spec.k_bias) table.add("self_attn.k_proj.bias", {kv_rows});
  if (spec.v_bias) table.add("self_attn.v_proj.bias", {kv_rows});
  if (spec.qk_norm) {
    table.add("self_attn.q_norm.weight", {spec.head_dim});
    table.add("self_attn.k_norm.weight", {spec.head_dim});
  }
  table.add("self_attn.o_proj.weight", {spec.hidden_size, q_rows});
  if (spec.o_bias) table.add("self_attn.o_proj.bias", {spec.hidden_size});
  table.add("post_attention_layernorm.weight", {spec.hidden_size});
  table.add("mlp.gate_proj.weight", {spec.intermediate_size, spec.hidden_size});
  table.add("mlp.up_proj.weight", {spec.intermediate_size, spec.hidden_size});
  if (spec.mlp_bias) table.add("mlp.gate_proj.bias", {spec.intermediate_size});
  if (spec.mlp_bias) table.add("mlp.up_proj.bias", {spec.intermediate_size});
  table.add("mlp.down_proj.weight", {spec.hidden_size, spec.intermediate_size});
  if (spec.mlp_bias) table.add("mlp.down_proj.bias", {spec.hidden_size});
}

}  // namespace

int64_t ParameterSpec::numel() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<ParameterSpec> parameter_table(const ModelSpec& spec) {
  TableBuilder table;
  table.stage(0, "model.");
  table.add("embed_tokens.weight", {spec.vocab_size, spec.hidden_size});
  for (int64_t i = 0; i < spec.num_layers(); ++i) {
    table.stage(1 + i, "model.layers." + std::to_string(i) + ".");
    add_block(spec, table);
  }
  table.stage(spec.num_layers() + 1, "");
  table.add("model.norm.weight", {spec.hidden_size});
  if (!spec.tie_word_embeddings) {
    table.add("lm_head.weight", {spec.vocab_size, spec.hidden_size});
  }
  return table.take();
}

}  // namespace hone::models
