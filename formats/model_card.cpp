#include "formats/model_card.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>

#include "core/text.h"
#include "formats/svg_axis.h"

namespace hone::formats {
namespace {

// A hub id: "name" or "owner/name".
bool is_repository_id(const std::string& text) {
  if (text.empty() || text.size() > 96 || text.front() == '.' || text.front() == '-') return false;
  const bool known = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
  });
  return known && text.front() != '/' && text.back() != '/' &&
         text.find("..") == std::string::npos && std::count(text.begin(), text.end(), '/') <= 1;
}

std::string yaml_list(const std::string& key, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string text = key + ":\n";
  for (const std::string& item : items) text += "- " + yaml_scalar(item) + "\n";
  return text;
}

std::string yaml_line(const std::string& key, const std::string& value) {
  return value.empty() ? "" : key + ": " + yaml_scalar(value) + "\n";
}

std::vector<std::string> all_tags(const ModelCard& card) {
  std::vector<std::string> tags = {"hone", "sft"};
  if (card.is_adapter) tags.push_back("lora");
  for (const std::string& tag : card.tags) {
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  }
  return tags;
}

std::string front_matter(const ModelCard& card) {
  std::vector<std::string> datasets;
  std::copy_if(card.datasets.begin(), card.datasets.end(), std::back_inserter(datasets),
               is_repository_id);
  std::string text =
      "---\n" + yaml_list("language", card.languages) + yaml_line("license", card.license) +
      yaml_line("license_name", card.license_name) + yaml_line("license_link", card.license_link) +
      yaml_line("library_name", card.is_gguf      ? "gguf"
                                : card.is_adapter ? "peft"
                                                  : "transformers") +
      "pipeline_tag: text-generation\n";
  if (is_repository_id(card.base_model)) {
    text += yaml_line("base_model", card.base_model) +
            yaml_line("base_model_relation", card.is_gguf      ? "quantized"
                                             : card.is_adapter ? "adapter"
                                                               : "finetune");
  }
  return text + yaml_list("datasets", datasets) + yaml_list("tags", all_tags(card)) + "---\n\n";
}

std::string number(const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return "–";
  if (*value == std::round(*value) && std::abs(*value) < 1e15) return format_fixed(*value, 0);
  return format_fixed(*value, std::abs(*value) < 100 ? 4 : 2);
}

std::string change(const ModelCardMeasurement& m) {
  if (!m.before || !m.after || !std::isfinite(*m.before) || !std::isfinite(*m.after) ||
      *m.before == 0)
    return "–";
  const double percent = 100 * (*m.after - *m.before) / std::abs(*m.before);
  const std::string text = format_fixed(percent, 1);
  return (percent > 0 && text != "0.0" ? "+" : "") + text + " %";
}

std::string measurements_part(const ModelCard& card) {
  if (card.measurements.empty() && card.loss_curve_file.empty()) return "";
  std::string text = "## Results\n\n";
  if (!card.measurements.empty()) {
    text += "| measured | before | after | change |\n|---|---:|---:|---:|\n";
    for (const ModelCardMeasurement& m : card.measurements) {
      text += "| " + escape_markdown(m.name) + " | " + number(m.before) + " | **" +
              number(m.after) + "** | " + change(m) + " |\n";
    }
    text += "\n";
  }
  if (!card.loss_curve_file.empty()) {
    text += "![Training and held-out loss by optimizer step](" + card.loss_curve_file + ")\n\n";
  }
  return text;
}

std::string significant(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string proofs_part(const ModelCard& card) {
  if (card.proofs.empty()) return "";
  std::string text =
      "## Proof\n\nWhat was written was read back, and its logits compared with the model's.\n\n"
      "| file | compared on | tokens | KL, nats a token | bound | largest logit difference | rms | "
      "same first choice | loss difference |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const ModelCardProof& p : card.proofs) {
    text += "| " + escape_markdown(p.artefact) + " | " + escape_markdown(p.rows) + " | " +
            std::to_string(p.num_tokens) + " | " + significant(p.kl) +
            (p.holds ? "" : " (**above the bound**)") + " | " + significant(p.max_kl) + " | " +
            significant(p.max_difference) + " | " + significant(p.rms_difference) + " | " +
            format_fixed(100 * p.top1, 2) + " % | " + significant(p.loss_difference) + " |\n";
  }
  return text + "\n";
}

std::string samples_part(const ModelCard& card) {
  if (card.samples.empty()) return "";
  constexpr size_t kMaxBytes = 2000;
  const auto cell = [&](const std::string& text) {
    size_t size = std::min(text.size(), kMaxBytes);
    while (size < text.size() && size > 0 && core::continues_character(text[size])) --size;
    return escape_markdown(text.substr(0, size)) + (size < text.size() ? " …" : "");
  };
  std::string text =
      "## Samples\n\nThe same prompts, before and after.\n\n| prompt | before | after "
      "|\n|---|---|---|\n";
  for (const ModelCardSample& s : card.samples) {
    text += "| " + cell(s.prompt) + " | " + cell(s.before) + " | " + cell(s.after) + " |\n";
  }
  return text + "\n";
}

std::string data_part(const ModelCard& card) {
  if (card.data.empty() && card.data_note.empty()) return "";
  std::string text = "## Data\n\n";
  if (!card.data_note.empty()) text += escape_markdown(card.data_note) + "\n\n";
  if (card.data.empty()) return text;
  text += "| data | used for | rows | SHA-256 | licence |\n|---|---|---:|---|---|\n";
  for (const ModelCardData& d : card.data) {
    text += "| " + escape_markdown(d.name) + " | " + escape_markdown(d.use) + " | " +
            (d.rows < 0 ? "–" : core::format_count(static_cast<uint64_t>(d.rows))) + " | " +
            (d.sha256.empty() ? "–" : escape_markdown(d.sha256)) + " | " +
            (d.license.empty() ? "not stated" : escape_markdown(d.license)) + " |\n";
  }
  return text + "\n";
}

std::string pairs_table(const std::string& heading,
                        const std::vector<std::pair<std::string, std::string>>& rows) {
  if (rows.empty()) return "";
  std::string text = heading + "\n\n| | |\n|---|---|\n";
  for (const auto& [name, value] : rows) {
    text += "| " + escape_markdown(name) + " | " + escape_markdown(value) + " |\n";
  }
  return text + "\n";
}

std::string versions_part(const ModelCard& card) {
  std::vector<std::pair<std::string, std::string>> rows;
  if (!card.base_model.empty()) rows.emplace_back("base model", card.base_model);
  if (!card.base_model_revision.empty())
    rows.emplace_back("base model revision", card.base_model_revision);
  rows.insert(rows.end(), card.versions.begin(), card.versions.end());
  return pairs_table("## Revisions and versions", rows);
}

std::string python_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
  }
  return quoted + "\"";
}

std::string shell_word(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      quoted += c;
    }
  }
  return is_repository_id(text) ? text : quoted + "'";
}

std::string usage_part(const ModelCard& card) {
  if (card.model_id.empty() || card.is_gguf) return "";
  const std::string id = python_string(card.model_id);
  const std::string model_class =
      card.is_adapter ? "AutoPeftModelForCausalLM" : "AutoModelForCausalLM";
  std::string python = std::string(
      card.is_adapter ? "from peft import AutoPeftModelForCausalLM\nfrom transformers "
                        "import AutoTokenizer\n\n"
                      : "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n");
  python += "tokenizer = AutoTokenizer.from_pretrained(" + id + ")\nmodel = " + model_class +
            ".from_pretrained(" + id +
            ")\nmessages = [{\"role\": \"user\", \"content\": \"Hello\"}]\n"
            "inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, "
            "return_dict=True, "
            "return_tensors=\"pt\")\n"
            "output = model.generate(**inputs, max_new_tokens=100)\n"
            "print(tokenizer.decode(output[0][inputs[\"input_ids\"].shape[1]:], "
            "skip_special_tokens=True))\n";
  const std::string shell = "hone generate " + shell_word(card.model_id) + " --chat\n";
  return "## How to use\n\n" + code_block(shell, "sh") + "\n" + code_block(python, "python") + "\n";
}

std::string intro(const ModelCard& card) {
  std::string text =
      "# " + escape_markdown(card.model_id.empty() ? "Fine-tuned model" : card.model_id) + "\n\n";
  if (!card.summary.empty()) text += escape_markdown(card.summary) + "\n\n";
  if (!card.base_model.empty()) {
    text += std::string(card.is_gguf      ? "Made from "
                        : card.is_adapter ? "A LoRA adapter for "
                                          : "A full fine-tune of ") +
            "**" + escape_markdown(card.base_model) + "**, made with hone.\n\n";
  }
  return text;
}

}  // namespace

std::string model_card_markdown(const ModelCard& card) {
  std::string text = front_matter(card) + intro(card) + measurements_part(card) +
                     proofs_part(card) + samples_part(card) + data_part(card) +
                     pairs_table("## Training", card.training);
  if (!card.recipe_yaml.empty())
    text += "## Recipe\n\n" + code_block(card.recipe_yaml, "yaml") + "\n";
  text += versions_part(card) + usage_part(card);
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

}  // namespace hone::formats
