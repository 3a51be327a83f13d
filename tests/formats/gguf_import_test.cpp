#include "formats/gguf_import.h"

#include <cstring>

#include "core/files.h"
#include "core/json.h"
#include "formats/gguf_config.h"
#include "formats/gguf_tokenizer.h"
#include "formats/weight_files.h"
#include "tests/formats/gguf_builder.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::Json;
using core::TempFolder;

const std::string kTiny = kGoldenFolder + "/tiny.gguf";

// Metadata and tensors of a model small enough to write out; `arch` decides the key prefix.
GgufBuilder small_model(const std::string& arch = "llama", bool with_attention = true) {
  GgufBuilder b;
  b.text("general.architecture", arch);
  b.number(arch + ".block_count", 1).number(arch + ".context_length", 16);
  b.number(arch + ".embedding_length", 4).number(arch + ".feed_forward_length", 6);
  b.number(arch + ".attention.head_count", 2).number(arch + ".attention.head_count_kv", 1);
  b.real(arch + ".attention.layer_norm_rms_epsilon", 1e-6f);
  b.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "gpt-2");
  b.texts("tokenizer.ggml.tokens", {"a", "b", "ab"}).texts("tokenizer.ggml.merges", {"a b"});
  b.ones("token_embd.weight", {4, 3}).ones("output_norm.weight", {4});
  b.ones("blk.0.attn_norm.weight", {4}).ones("blk.0.ffn_norm.weight", {4});
  b.ones("blk.0.ffn_gate.weight", {4, 6})
      .ones("blk.0.ffn_up.weight", {4, 6})
      .ones("blk.0.ffn_down.weight", {6, 4});
  if (with_attention) {
    b.ones("blk.0.attn_q.weight", {4, 4}).ones("blk.0.attn_k.weight", {4, 2});
    b.ones("blk.0.attn_v.weight", {4, 2}).ones("blk.0.attn_output.weight", {4, 4});
  }
  return b;
}

Json imported_config(const GgufBuilder& b) {
  const TempFolder folder;
  import_gguf(folder.write("m.gguf", b.build()), folder.path() / "out");
  return core::read_json_file(folder.path() / "out" / "config.json");
}

void expect_refused(const GgufBuilder& b, const std::vector<std::string>& parts) {
  const TempFolder folder;
  const auto path = folder.write("m.gguf", b.build());
  auto all = parts;
  all.push_back(path.string());
  expect_failure([&] { import_gguf(path, folder.path() / "out"); }, ErrorKind::kBadInput, all);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
}

TEST(GgufImport, TensorsEqualTheReferenceBitForBit) {
  const TempFolder folder;
  const GgufImportResult result = import_gguf(kTiny, folder.path() / "out");
  const SafetensorsFile expected =
      SafetensorsFile::open(kGoldenFolder + "/tiny_expected.safetensors");
  const WeightFiles weights = open_weight_files(folder.path() / "out");
  ASSERT_EQ(weights.tensors().size(), expected.tensors().size());
  for (const TensorEntry& t : expected.tensors()) {
    const WeightTensor* ours = weights.find(t.name);
    ASSERT_NE(ours, nullptr) << t.name;
    ASSERT_EQ(ours->shape, t.shape) << t.name;
    EXPECT_EQ(std::memcmp(weights.bytes(*ours).data(), expected.bytes(t).data(), t.num_bytes()), 0)
        << t.name;
  }
  EXPECT_EQ(result.architecture, "LlamaForCausalLM");
  EXPECT_EQ(result.license, "apache-2.0");
  EXPECT_EQ(result.dtype, "float32");
  EXPECT_EQ(result.num_parameters, 17824u);
  EXPECT_EQ(result.languages, std::vector<std::string>{"en"});
  EXPECT_EQ(result.tensor_types.size(), 7u);
}

TEST(GgufImport, ConfigHasTheNumbersOfTheFile) {
  const TempFolder folder;
  import_gguf(kTiny, folder.path() / "out");
  const Json config = core::read_json_file(folder.path() / "out" / "config.json");
  EXPECT_EQ(config["architectures"], Json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05");
  EXPECT_EQ(config["rope_parameters"]["rope_theta"], 100000.0);
  EXPECT_EQ(config["rope_parameters"]["rope_type"], "default");
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["head_dim"], 8);
  EXPECT_EQ(config["vocab_size"], 266);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["dtype"], "float32");
  EXPECT_EQ(config["eos_token_id"], 2);
  EXPECT_EQ(core::read_json_file(folder.path() / "out" / "generation_config.json")["pad_token_id"],
            2);
}

TEST(GgufImport, TokenizerFilesSayHowTextIsSplit) {
  const auto files = gguf_tokenizer_files(GgufFile::open(kTiny), 266);
  const Json tokenizer = core::parse_json(files.at("tokenizer.json"), "tokenizer.json");
  const Json& pre = tokenizer["pre_tokenizer"]["pretokenizers"];
  ASSERT_EQ(pre.size(), 2u);
  EXPECT_EQ(pre[0].dump(), R"({"type":"Digits","individual_digits":true})");
  EXPECT_EQ(pre[1]["type"], "ByteLevel");
  EXPECT_EQ(pre[1]["add_prefix_space"], false);
  EXPECT_EQ(pre[1]["use_regex"], true);
  EXPECT_EQ(tokenizer["decoder"]["type"], "ByteLevel");
  EXPECT_TRUE(tokenizer["post_processor"].is_null());
  EXPECT_EQ(tokenizer["model"]["vocab"].size(), 266u);
  EXPECT_EQ(tokenizer["model"]["vocab"]["Ġthe"], 261);
  EXPECT_EQ(tokenizer["model"]["merges"][2].dump(), R"(["Ġt","he"])");
  ASSERT_EQ(tokenizer["added_tokens"].size(), 4u);
  EXPECT_EQ(tokenizer["added_tokens"][1]["content"], "<|im_start|>");
  EXPECT_EQ(tokenizer["added_tokens"][1]["special"], true);
  EXPECT_EQ(tokenizer["added_tokens"][3]["content"], "<tool>");
  EXPECT_EQ(tokenizer["added_tokens"][3]["special"], false);
  const Json config = core::parse_json(files.at("tokenizer_config.json"), "tokenizer_config.json");
  EXPECT_EQ(config["bos_token"], "<|im_start|>");
  EXPECT_EQ(config["eos_token"], "<|im_end|>");
  EXPECT_EQ(config["pad_token"], "<|im_end|>");
  EXPECT_EQ(config["unk_token"], "<|endoftext|>");
  EXPECT_EQ(config["model_max_length"], 128);
  EXPECT_EQ(files.at("chat_template.jinja"), "{% for m in messages %}{{ m.content }}{% endfor %}");
}

TEST(GgufImport, DtypeOptionRoundsAndUnknownOnesAreRefused) {
  const TempFolder folder;
  import_gguf(kTiny, folder.path() / "out", {.dtype = "bfloat16"});
  const WeightFiles weights = open_weight_files(folder.path() / "out");
  const WeightTensor* k = weights.find("model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(k->dtype, Dtype::kBF16);
  const SafetensorsFile expected =
      SafetensorsFile::open(kGoldenFolder + "/tiny_expected.safetensors");
  float first = 0;
  uint16_t ours = 0;
  std::memcpy(&first, expected.bytes(*expected.find(k->name)).data(), 4);
  std::memcpy(&ours, weights.bytes(*k).data(), 2);
  EXPECT_EQ(ours, f32_to_bf16(first));
  EXPECT_EQ(core::read_json_file(folder.path() / "out" / "config.json")["dtype"], "bfloat16");
  expect_failure([&] { import_gguf(kTiny, folder.path() / "o2", {.dtype = "int8"}); },
                 ErrorKind::kBadRecipe, {"unknown dtype", "\"int8\"", "bfloat16"});
}

// All matrices in `type`, norms in float32 with the value `norm`.
GgufBuilder half_model(uint32_t type, uint16_t one, float norm) {
  GgufBuilder b = small_model("llama", false);
  b.tensors.clear();
  b.data.clear();
  b.num_tensors = 0;
  const auto matrix = [&](const std::string& name, uint64_t columns, uint64_t rows) {
    b.tensor(name, {columns, rows}, type, b.data.size());
    for (uint64_t i = 0; i < columns * rows; ++i) b.data += raw(one);
    b.data.resize((b.data.size() + 31) / 32 * 32);
  };
  const auto vector = [&](const std::string& name) {
    b.tensor(name, {4}, 0, b.data.size());
    for (int i = 0; i < 4; ++i) b.data += raw(norm);
    b.data.resize((b.data.size() + 31) / 32 * 32);
  };
  matrix("token_embd.weight", 4, 3);
  for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"})
    vector(name);
  matrix("blk.0.ffn_gate.weight", 4, 6);
  matrix("blk.0.ffn_up.weight", 4, 6);
  matrix("blk.0.ffn_down.weight", 6, 4);
  matrix("blk.0.attn_q.weight", 4, 4);
  matrix("blk.0.attn_k.weight", 4, 2);
  matrix("blk.0.attn_v.weight", 4, 2);
  matrix("blk.0.attn_output.weight", 4, 4);
  return b;
}

TEST(GgufImport, NarrowTypesAreKeptWhenEveryValueFits) {
  EXPECT_EQ(imported_config(half_model(30, 0x3F80, 1.5f))["dtype"], "bfloat16");
  EXPECT_EQ(imported_config(half_model(1, 0x3C00, 1.5f))["dtype"], "float16");
  EXPECT_EQ(imported_config(half_model(30, 0x3F80, 1.0001f))["dtype"], "float32");
  EXPECT_EQ(imported_config(small_model())["dtype"], "float32");
}

TEST(GgufImport, UntiedHeadAndBiasesAreSeen) {
  GgufBuilder b = small_model();
  b.ones("output.weight", {4, 3}).ones("blk.0.attn_q.bias", {4}).ones("blk.0.attn_k.bias", {2});
  b.ones("blk.0.attn_v.bias", {2}).ones("blk.0.attn_output.bias", {4});
  const Json config = imported_config(b);
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["attention_bias"], true);
  EXPECT_EQ(config["mlp_bias"], false);
}

TEST(GgufImport, QwenAndMistralGetTheirOwnArchitectures) {
  GgufBuilder qwen2 = small_model("qwen2");
  qwen2.ones("blk.0.attn_q.bias", {4})
      .ones("blk.0.attn_k.bias", {2})
      .ones("blk.0.attn_v.bias", {2});
  EXPECT_EQ(imported_config(qwen2)["architectures"][0], "Qwen2ForCausalLM");
  GgufBuilder qwen3 = small_model("qwen3");
  qwen3.ones("blk.0.attn_q_norm.weight", {2}).ones("blk.0.attn_k_norm.weight", {2});
  const Json config = imported_config(qwen3);
  EXPECT_EQ(config["architectures"][0], "Qwen3ForCausalLM");
  EXPECT_EQ(config["use_sliding_window"], false);
  const Json mistral = imported_config(small_model().number("llama.attention.sliding_window", 8));
  EXPECT_EQ(mistral["architectures"][0], "MistralForCausalLM");
  EXPECT_EQ(mistral["sliding_window"], 8);
}

TEST(GgufImport, OnlyLlamaRowsAreMovedBack) {
  // Rows of a head of four: 0 1 2 3 in the file are rows 0 2 1 3 of the model.
  for (const std::string arch : {"llama", "qwen2"}) {
    GgufBuilder b = small_model(arch, false);
    b.number(arch + ".attention.key_length", 4);
    b.tensor("blk.0.attn_q.weight", {4, 8}, 0, b.data.size());
    for (int row = 0; row < 8; ++row) {
      for (int column = 0; column < 4; ++column) b.data += raw(static_cast<float>(row));
    }
    b.ones("blk.0.attn_k.weight", {4, 4})
        .ones("blk.0.attn_v.weight", {4, 4})
        .ones("blk.0.attn_output.weight", {8, 4});
    if (arch == "qwen2") {
      b.ones("blk.0.attn_q.bias", {8})
          .ones("blk.0.attn_k.bias", {4})
          .ones("blk.0.attn_v.bias", {4});
    }
    const TempFolder folder;
    import_gguf(folder.write("m.gguf", b.build()), folder.path() / "out");
    const WeightFiles weights = open_weight_files(folder.path() / "out");
    const auto bytes = weights.bytes(*weights.find("model.layers.0.self_attn.q_proj.weight"));
    std::vector<int> rows;
    for (int row = 0; row < 8; ++row) {
      float value = 0;
      std::memcpy(&value, bytes.data() + 16 * row, 4);
      rows.push_back(static_cast<int>(value));
    }
    EXPECT_EQ(rows, arch == "llama" ? (std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7})
                                    : (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}))
        << arch;
  }
}

TEST(GgufImport, RopeScalingIsRecognised) {
  GgufBuilder linear = small_model();
  linear.text("llama.rope.scaling.type", "linear").real("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(imported_config(linear)["rope_parameters"]["factor"], 4.0);
  // Head dimension 2 has one frequency, 1, which Llama 3.1 scaling leaves alone.
  GgufBuilder llama3 = small_model();
  llama3.ones("rope_freqs.weight", {1});
  EXPECT_EQ(imported_config(llama3)["rope_parameters"]["rope_type"], "llama3");
  expect_refused(small_model().text("llama.rope.scaling.type", "longrope"),
                 {"RoPE scaling", "longrope"});
  GgufBuilder unknown = small_model();
  unknown.tensor("rope_freqs.weight", {1}, 0, unknown.data.size());
  unknown.data += raw(3.0f);
  expect_refused(unknown, {"rope_freqs.weight", "no known RoPE scaling"});
}

TEST(GgufImport, OutputFolderMustBeNewOrEmpty) {
  const TempFolder folder;
  folder.write("out/x", "");
  expect_failure([&] { import_gguf(kTiny, folder.path() / "out"); }, ErrorKind::kCannotCreate,
                 {"not empty", (folder.path() / "out").string()});
  std::filesystem::create_directory(folder.path() / "empty");
  import_gguf(kTiny, folder.path() / "empty/");
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "empty" / "model.safetensors"));
  size_t num_entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    num_entries += entry.exists();
  EXPECT_EQ(num_entries, 2u);  // no staging folder is left
}

TEST(GgufImportRules, UnsupportedModels) {
  expect_refused(small_model("gemma"), {"architecture is not supported", "\"gemma\"", "qwen3"});
  expect_refused(small_model().number("llama.expert_count", 8), {"llama.expert_count"});
  expect_refused(small_model().number("llama.rope.dimension_count", 1), {"rotary", "got 1"});
  expect_refused(small_model().number("llama.attention.value_length", 3), {"different lengths"});
  expect_refused(GgufBuilder{}.number("x", 1), {"\"general.architecture\" is missing"});
}

TEST(GgufImportRules, ImpossibleSizes) {
  GgufBuilder zero = small_model();
  const std::string key = gguf_string("llama.attention.head_count") + raw<uint32_t>(4);
  zero.keys.replace(zero.keys.find(key) + key.size(), 4, raw<uint32_t>(0));
  expect_refused(zero, {"llama.attention.head_count", "out of range", "got 0"});
  GgufBuilder odd = small_model();
  odd.keys.replace(odd.keys.find(key) + key.size(), 4, raw<uint32_t>(3));
  expect_refused(odd, {"do not divide evenly"});
}

TEST(GgufImportRules, AllTensorProblemsAreNamedAtOnce) {
  GgufBuilder b = small_model("llama", false);
  b.ones("blk.0.attn_q.weight", {4, 6})
      .ones("blk.7.extra", {1})
      .ones("blk.0.attn_k.weight", {4, 2});
  expect_refused(b,
                 {"\"blk.0.attn_v.weight\" is missing", "\"blk.0.attn_output.weight\" is missing",
                  "\"blk.0.attn_q.weight\" has the shape [6, 4], expected [4, 4]",
                  "\"blk.7.extra\" is no part"});
}

// small_model with one of its tokenizer entries replaced.
GgufBuilder with_tokenizer(const std::string& model, const std::string& pre,
                           const std::vector<std::string>& tokens,
                           const std::vector<std::string>& merges) {
  GgufBuilder b = small_model();
  const size_t start = b.keys.find(gguf_string("tokenizer.ggml.model"));
  b.keys.resize(start);
  b.num_keys -= 4;
  b.text("tokenizer.ggml.model", model).text("tokenizer.ggml.pre", pre);
  return b.texts("tokenizer.ggml.tokens", tokens).texts("tokenizer.ggml.merges", merges);
}

TEST(GgufImportRules, Tokenizers) {
  const std::vector<std::string> good = {"a", "b", "ab"};
  expect_refused(with_tokenizer("bert", "gpt-2", good, {}),
                 {"tokenizer is not supported", "\"bert\"", "SentencePiece"});
  expect_refused(with_tokenizer("llama", "default", good, {}), {"no token for a byte", "<0x00>"});
  expect_refused(with_tokenizer("gpt2", "tekken", good, {}),
                 {"pre-tokenizer is not supported", "tekken", "smollm"});
  expect_refused(with_tokenizer("gpt2", "gpt-2", {}, {}), {"tokenizer.ggml.tokens"});
  expect_refused(with_tokenizer("gpt2", "gpt-2", {"a", "b", "c", "d"}, {}),
                 {"more tokens than rows", "got 4"});
  expect_refused(with_tokenizer("gpt2", "gpt-2", {"a", "b", "a"}, {}), {"token 2", "twice"});
  expect_refused(with_tokenizer("gpt2", "gpt-2", good, {"ab"}), {"merge 0", "not two tokens"});
  expect_refused(with_tokenizer("gpt2", "gpt-2", good, {"a b", "b b"}), {"merge 1", "\"bb\""});
  expect_refused(small_model().number("tokenizer.ggml.eos_token_id", 9),
                 {"eos_token_id", "outside the vocabulary"});
  expect_refused(small_model().key("tokenizer.ggml.token_type", 9,
                                   raw<uint32_t>(5) + raw<uint64_t>(1) + raw<int32_t>(1)),
                 {"token_type", "another length"});
  expect_refused(small_model().text("tokenizer.chat_template.../x", "t"), {"unsafe name"});
}

TEST(GgufImport, PreTokenizersOfOtherFamilies) {
  const TempFolder folder;
  const auto tokenizer_of = [&](GgufBuilder b) {
    const GgufFile file = GgufFile::open(folder.write("m.gguf", b.build()));
    return core::parse_json(gguf_tokenizer_files(file, 3).at("tokenizer.json"), "t");
  };
  const std::vector<std::string> good = {"a", "b", "ab"};
  EXPECT_EQ(tokenizer_of(with_tokenizer("gpt2", "gpt-2", good, {}))["pre_tokenizer"]["type"],
            "ByteLevel");
  const Json qwen = tokenizer_of(with_tokenizer("gpt2", "qwen2", good, {}));
  EXPECT_EQ(qwen["pre_tokenizer"]["pretokenizers"][0]["type"], "Split");
  EXPECT_EQ(qwen["pre_tokenizer"]["pretokenizers"][1]["use_regex"], false);
  EXPECT_EQ(qwen["model"]["ignore_merges"], false);
  GgufBuilder llama3 = with_tokenizer("gpt2", "llama-bpe", good, {});
  llama3.number("tokenizer.ggml.bos_token_id", 1);
  const Json llama = tokenizer_of(llama3);
  EXPECT_EQ(llama["model"]["ignore_merges"], true);
  EXPECT_EQ(llama["post_processor"]["single"][0]["SpecialToken"]["id"], "b");
  EXPECT_EQ(llama["post_processor"]["special_tokens"]["b"]["ids"][0], 1);
  EXPECT_EQ(llama["added_tokens"][0]["content"], "b");
}

TEST(GgufImport, PadAndEndTokensAreChosen) {
  const TempFolder folder;
  const auto generation_of = [&](GgufBuilder b) {
    return gguf_generation_config_json(GgufFile::open(folder.write("m.gguf", b.build())));
  };
  const Json both = generation_of(small_model()
                                      .number("tokenizer.ggml.eos_token_id", 1)
                                      .number("tokenizer.ggml.eot_token_id", 2));
  EXPECT_EQ(both["eos_token_id"], Json::array({1, 2}));
  EXPECT_EQ(both["pad_token_id"], 1);
  EXPECT_FALSE(generation_of(small_model()).contains("pad_token_id"));
}

}  // namespace
}  // namespace hone::formats
