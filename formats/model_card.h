// README.md of a fine-tuned model: YAML front matter that hubs read, and everything needed to judge
// and repeat the run. https://huggingface.co/docs/hub/model-cards
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone::formats {

struct ModelCardMeasurement {
  std::string name;  // "held-out loss"
  std::optional<double> before, after;
};

struct ModelCardSample {
  std::string prompt, before, after;
};

struct ModelCardData {
  std::string name;   // "data/train.jsonl" or a hub id
  std::string use;    // "training", "held-out"
  int64_t rows = -1;  // -1: not known
  std::string sha256;
  std::string license;  // "" if not known
};

// A file's logits beside those of the model it was made from (trainer/prove.h).
struct ModelCardProof {
  std::string artefact;  // "model.gguf"
  std::string rows;      // "4 held-out rows"
  int64_t num_tokens = 0;
  double max_difference = 0, rms_difference = 0;  // of logits
  double kl = 0, max_kl = 0;                      // nats a token, and the bound
  double top1 = 0;                                // 0 to 1
  double loss_difference = 0;                     // nats a token
  bool holds = false;
};

// Plain values; empty ones leave their part out.
struct ModelCard {
  std::string model_id;             // "me/smollm2-debian"
  std::string summary;              // a paragraph of text
  std::string base_model;           // id or folder; only an id goes into the front matter
  std::string base_model_revision;  // commit
  bool is_adapter =
      false;            // base_model_relation: adapter, library: peft; else finetune, transformers
  std::string license;  // SPDX-like name of the hub, "apache-2.0"
  std::string license_name, license_link;  // with license "other"
  std::vector<std::string> languages;      // "en"
  std::vector<std::string> tags;           // added to the ones every card of ours has
  std::vector<std::string> datasets;       // hub ids
  std::vector<ModelCardMeasurement> measurements;
  bool is_gguf = false;  // base_model_relation: quantized, library: gguf
  std::vector<ModelCardProof> proofs;
  std::string loss_curve_file;  // "loss_curve.svg", beside README.md
  std::vector<ModelCardSample> samples;
  std::vector<ModelCardData> data;
  std::string data_note;                                      // a paragraph of text
  std::vector<std::pair<std::string, std::string>> training;  // "optimizer steps": "200"
  std::vector<std::pair<std::string, std::string>> versions;  // "hone": "0.1.0"
  std::string recipe_yaml;                                    // the resolved recipe
};

// All given text is data: it can neither end the front matter, a table or a code block, nor add
// markup.
std::string model_card_markdown(const ModelCard& card);

// Exposed for their tests. A YAML scalar that reads back as this very string; one line.
std::string yaml_scalar(const std::string& text);
// One table cell or line: markup escaped, line breaks as <br>.
std::string escape_markdown(const std::string& text);
// A fenced code block whose fence is longer than any in the text.
std::string code_block(const std::string& text, const std::string& language);

}  // namespace hone::formats
