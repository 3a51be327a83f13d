// A folder as a GGUF file and back: what models/spec reads of config.json goes through formats/.
#include "formats/gguf_export.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/files.h"
#include "formats/gguf_import.h"
#include "formats/weight_files.h"
#include "models/spec/gguf_spec.h"
#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"
#include "tests/support/paths.h"

namespace hone::models {
namespace {

namespace fs = std::filesystem;
using formats::GgmlType;
using formats::GgufFile;

const fs::path kGolden = fs::path(test::kSourceDir) / "tests/golden";

// A model of tests/golden/models with the tokenizer of tiny-chat, whose ids are cut to the model's
// vocabulary.
class ExportFolder {
 public:
  explicit ExportFolder(const std::string& name) {
    for (const auto& entry : fs::directory_iterator(kGolden / "models" / name)) {
      const std::string file = entry.path().filename().string();
      if (entry.is_regular_file() && !file.starts_with("golden")) fs::copy(entry, path() / file);
    }
    vocab_size_ = read_model_spec(path()).vocab_size;
    core::Json tokenizer = core::read_json_file(kGolden / "tiny-chat/tokenizer.json");
    core::Json vocab = core::Json::object();
    for (const auto& [token, id] : tokenizer["model"]["vocab"].items()) {
      if (id.get<int64_t>() < vocab_size_ - 1) vocab[token] = id;  // one row without a token
    }
    tokenizer["model"]["vocab"] = vocab;
    tokenizer["model"]["merges"] = core::Json::array();
    write("tokenizer.json", tokenizer);
    fs::copy(kGolden / "tiny-chat/tokenizer_config.json", path() / "tokenizer_config.json");
    fs::copy(kGolden / "tiny-chat/chat_template.jinja", path() / "chat_template.jinja");
  }

  fs::path path() const { return folder_.path(); }
  fs::path operator/(const char* name) const { return path() / name; }
  void write(const char* name, const core::Json& json) const {
    core::write_file_atomic(path() / name, core::dump_json(json));
  }
  formats::GgufExportResult write_gguf(const std::string& type) const {
    return formats::export_gguf(path(),
                                gguf_hyperparameters(read_model_spec(path()), "config.json"),
                                path() / "model.gguf", {.type = type, .name = "tiny"});
  }

 private:
  core::TempFolder folder_;
  int64_t vocab_size_ = 0;
};

class EveryFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryFamily, ComesBackFromF32WithTheSameBytesAndNumbers) {
  const ExportFolder folder(GetParam());
  folder.write_gguf("F32");
  formats::import_gguf(folder / "model.gguf", folder / "back", {.dtype = "float32"});
  const auto before = formats::open_weight_files(folder.path());
  const auto after = formats::open_weight_files(folder / "back");
  ASSERT_EQ(before.tensors().size(), after.tensors().size());
  for (const auto& tensor : before.tensors()) {
    const auto* other = after.find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    ASSERT_EQ(tensor.num_bytes, other->num_bytes) << tensor.name;
    EXPECT_EQ(
        std::memcmp(before.bytes(tensor).data(), after.bytes(*other).data(), tensor.num_bytes), 0)
        << tensor.name;
  }
  const ModelSpec x = read_model_spec(folder.path()), y = read_model_spec(folder / "back");
  EXPECT_EQ(x.model_type, y.model_type);
  EXPECT_EQ(x.num_kv_heads, y.num_kv_heads);
  EXPECT_EQ(x.head_dim, y.head_dim);
  EXPECT_EQ(x.tie_word_embeddings, y.tie_word_embeddings);
  EXPECT_EQ(static_cast<float>(x.rms_norm_eps), static_cast<float>(y.rms_norm_eps));
  EXPECT_EQ(x.rope.kind, y.rope.kind);
  EXPECT_EQ(x.rope.theta, y.rope.theta);
  EXPECT_EQ(x.rope.factor, y.rope.factor);
  EXPECT_EQ(x.rope.low_freq_factor, y.rope.low_freq_factor);
  EXPECT_EQ(x.rope.high_freq_factor, y.rope.high_freq_factor);
  EXPECT_EQ(x.layers.front().sliding_window, y.layers.front().sliding_window);
}

INSTANTIATE_TEST_SUITE_P(Models, EveryFamily,
                         ::testing::Values("llama", "llama_gqa_bias", "llama_sharded",
                                           "llama_untied_llama3rope", "mistral", "qwen2", "qwen3"));

TEST(GgufExport, TokenizerTemplateAndEndTokensComeBack) {
  const core::TempFolder folder;
  const fs::path chat = kGolden / "tiny-chat";
  formats::export_gguf(chat, gguf_hyperparameters(read_model_spec(chat), ""),
                       folder.path() / "model.gguf", {.type = "F16"});
  formats::import_gguf(folder.path() / "model.gguf", folder.path() / "back");
  const core::Json before = core::read_json_file(chat / "tokenizer.json");
  const core::Json after = core::read_json_file(folder.path() / "back/tokenizer.json");
  EXPECT_EQ(before["model"]["vocab"], after["model"]["vocab"]);
  EXPECT_EQ(before["model"]["merges"], after["model"]["merges"]);
  EXPECT_EQ(before["added_tokens"], after["added_tokens"]);
  EXPECT_EQ(before["pre_tokenizer"], after["pre_tokenizer"]);
  EXPECT_EQ(core::read_file(chat / "chat_template.jinja"),
            core::read_file(folder.path() / "back/chat_template.jinja"));
  const core::Json config = core::read_json_file(folder.path() / "back/tokenizer_config.json");
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    EXPECT_EQ(config.at(key), core::read_json_file(chat / "tokenizer_config.json").at(key)) << key;
  }
}

TEST(GgufExport, TheSameModelGivesTheSameBytes) {
  const ExportFolder folder("llama");
  folder.write_gguf("Q8_0");
  const std::string first = core::read_file(folder / "model.gguf");
  folder.write_gguf("Q8_0");
  EXPECT_EQ(core::read_file(folder / "model.gguf"), first);
}

TEST(GgufExport, VectorsStayFloatAndRowsThatDoNotFitGoToSmallerBlocks) {
  const ExportFolder folder("llama");  // hidden 64, MLP 96: no row of 256
  folder.write_gguf("Q4_K_M");
  const GgufFile file = GgufFile::open(folder / "model.gguf");
  const auto type = [&](const char* name) { return file.find_tensor(name)->type; };
  EXPECT_EQ(type("blk.0.attn_norm.weight"), GgmlType::kF32);
  EXPECT_EQ(type("blk.0.attn_q.weight"), GgmlType::kQ5_0);
  EXPECT_EQ(type("token_embd.weight"), GgmlType::kQ8_0);  // tied: as the head
  EXPECT_EQ(file.get_uint("general.file_type"), 15u);

  // Expected from llama.cpp's own rules for 32 blocks: the first and last eighth, and every third.
  formats::GgufModel model;
  model.num_layers = 32;
  const formats::GgufFileType& q4 = *formats::find_gguf_file_type("q4_k_m");
  const auto of = [&](const std::string& name, int64_t layer, int64_t columns) {
    return formats::gguf_tensor_type(q4, {name, "", {512, columns}, 0, layer}, model);
  };
  EXPECT_EQ(of("blk.3.attn_v.weight", 3, 512), GgmlType::kQ6_K);
  EXPECT_EQ(of("blk.4.attn_v.weight", 4, 512), GgmlType::kQ4_K);
  EXPECT_EQ(of("blk.6.ffn_down.weight", 6, 512), GgmlType::kQ6_K);
  EXPECT_EQ(of("blk.6.ffn_up.weight", 6, 512), GgmlType::kQ4_K);
  EXPECT_EQ(of("blk.28.ffn_down.weight", 28, 512), GgmlType::kQ6_K);
  EXPECT_EQ(of("output.weight", -1, 512), GgmlType::kQ6_K);
  EXPECT_EQ(of("token_embd.weight", -1, 512), GgmlType::kQ4_K);  // untied
  EXPECT_EQ(of("blk.3.attn_v.weight", 3, 96), GgmlType::kQ8_0);
  EXPECT_EQ(of("blk.4.attn_v.weight", 4, 40), GgmlType::kF16);
}

TEST(GgufExport, ATokenizerThatGgufCanNotSayIsRefusedByName) {
  const auto refused = [](const std::function<void(core::Json&)>& change,
                          const std::vector<std::string>& mentions) {
    const ExportFolder folder("llama");
    core::Json tokenizer = core::read_json_file(folder / "tokenizer.json");
    change(tokenizer);
    folder.write("tokenizer.json", tokenizer);
    expect_failure([&] { folder.write_gguf("F16"); }, core::ErrorKind::kBadInput, mentions);
    EXPECT_FALSE(fs::exists(folder / "model.gguf"));
  };
  refused([](core::Json& t) { t["model"]["type"] = "Unigram"; }, {"tokenizer.json", "Unigram"});
  refused([](core::Json& t) { t["model"]["byte_fallback"] = true; }, {"SentencePiece"});
  refused([](core::Json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }, {"Lowercase"});
  refused(
      [](core::Json& t) {
        t["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      {"pre-tokenizer", "Whitespace", "smollm"});
  refused([](core::Json& t) { t["model"]["ignore_merges"] = true; }, {"pre-tokenizer"});
  refused([](core::Json& t) { t["added_tokens"][0]["lstrip"] = true; }, {"lstrip"});
  refused([](core::Json& t) { t["model"]["vocab"]["extra"] = 100000; }, {"extra", "100000"});
  refused([](core::Json& t) { t["model"]["vocab"]["extra"] = "one"; }, {"extra"});
  refused([](core::Json& t) { t["added_tokens"] = 3; }, {"tokenizer"});
}

TEST(GgufExport, WindowsOfQwenAreRefused) {
  const fs::path folder = kGolden / "models/qwen2_window";
  expect_failure([&] { gguf_hyperparameters(read_model_spec(folder), "config.json"); },
                 core::ErrorKind::kBadInput, {"config.json", "sliding window"});
}

TEST(GgufExport, ValuesThatTheTypeCanNotHoldAreRefusedAndNothingIsLeft) {
  const ExportFolder folder("llama");
  const fs::path weights = folder / "model.safetensors";
  std::string bytes = core::read_file(weights);
  const formats::SafetensorsFile file = formats::SafetensorsFile::open(weights);
  const auto* tensor = file.find("model.layers.0.mlp.up_proj.weight");
  ASSERT_EQ(tensor->dtype, formats::Dtype::kF32);
  const float large = 70000;
  std::memcpy(bytes.data() + tensor->begin, &large, sizeof large);
  core::write_file_atomic(weights, bytes);
  expect_failure([&] { folder.write_gguf("F16"); }, core::ErrorKind::kBadInput,
                 {"up_proj", "70000", "BF16"});
  EXPECT_FALSE(fs::exists(folder / "model.gguf"));
  folder.write_gguf("BF16");
  EXPECT_TRUE(fs::exists(folder / "model.gguf"));
}

}  // namespace
}  // namespace hone::models
