// Keys of what a run starts from: model, adapter, data.
#include "recipes/schema_keys.h"

namespace hone::recipes {
namespace {

using enum ValueType;

void add_model_keys(std::vector<KeySpec>& t) {
  const std::string section = "Model";
  t.push_back({.name = "recipe",
               .type = kChoice,
               .doc = "What to do: `sft` is supervised fine-tuning.",
               .required = true,
               .choices = {"sft"},
               .section = section});
  t.push_back({.name = "model_name_or_path",
               .doc = "A folder in Hugging Face layout, or the id of a model in the local hub, the "
                      "Hugging Face cache or the hub endpoint.",
               .required = true,
               .aliases = {"base_model", "pretrained_model_name_or_path", "model"},
               .section = section});
  t.push_back({.name = "model_revision",
               .default_value = "main",
               .doc = "Branch, tag or commit of the model's repository.",
               .aliases = {"revision", "revision_of_model"},
               .section = section});
  t.push_back(
      {.name = "tokenizer",
       .doc = "Folder or id to take tokenizer and chat template from instead of the model's.",
       .aliases = {"tokenizer_name_or_path", "tokenizer_name"},
       .section = section});
  t.push_back({.name = "dtype",
               .type = kChoice,
               .default_value = "auto",
               .doc = "Type of the computation. `bfloat16` keeps float32 master weights, "
                      "optimizer state and gradient sums. `auto` measures once which is faster on "
                      "this machine.",
               .choices = {"auto", "float32", "bfloat16"},
               .aliases = {"torch_dtype"},
               .section = section});
  t.push_back({.name = "device",
               .type = kChoice,
               .default_value = "auto",
               .doc = "`auto` takes a GPU if this build and machine have one.",
               .choices = {"auto", "cpu", "cuda"},
               .section = section});
}

void add_adapter_keys(std::vector<KeySpec>& t) {
  const std::string section = "Adapter";
  t.push_back({.name = "adapter",
               .type = kMap,
               .doc = "Trains an adapter on the frozen model. Without it every weight is trained.",
               .aliases = {"peft"},
               .section = section});
  t.push_back({.name = "adapter.type",
               .type = kChoice,
               .default_value = "lora",
               .doc = "Kind of adapter.",
               .choices = {"lora"},
               .section = section});
  t.push_back({.name = "adapter.path",
               .doc = "Continues this PEFT adapter (folder or id). Its shape comes from its own "
                      "adapter_config.json, so the other adapter keys are left out.",
               .section = section});
  t.push_back({.name = "adapter.r",
               .type = kInteger,
               .default_value = "8",
               .doc = "LoRA rank.",
               .minimum = 1,
               .maximum = 65536,
               .aliases = {"lora_r", "lora_rank", "adapter.rank", "adapter.dim", "adapter.lora_r"},
               .section = section});
  t.push_back({.name = "adapter.lora_alpha",
               .type = kNumber,
               .default_value = "8",
               .doc = "The adapter's output is scaled by lora_alpha / r.",
               .minimum = 0,
               .exclusive_minimum = true,
               .aliases = {"lora_alpha", "adapter.alpha"},
               .section = section});
  t.push_back({.name = "adapter.lora_dropout",
               .type = kNumber,
               .default_value = "0.0",
               .doc = "Dropout of the adapter's input while training.",
               .minimum = 0,
               .maximum = 1,
               .exclusive_maximum = true,
               .aliases = {"lora_dropout", "adapter.dropout"},
               .section = section});
  t.push_back({.name = "adapter.target_modules",
               .type = kTextOrList,
               .default_value = "all-linear",
               .doc = "Module names (`[q_proj, v_proj]`), one regular "
                      "expression over whole module paths, or `all-linear`: every linear layer "
                      "except the head.",
               .aliases = {"lora_target_modules", "lora_target"},
               .section = section});
  t.push_back({.name = "adapter.modules_to_save",
               .type = kTextList,
               .default_value = "[]",
               .doc = "Modules trained in full and saved with the adapter, "
                      "such as `[lm_head, embed_tokens]`.",
               .aliases = {"lora_modules_to_save"},
               .section = section});
  t.push_back({.name = "adapter.use_rslora",
               .type = kBool,
               .default_value = "false",
               .doc = "Scale by lora_alpha / sqrt(r) (arXiv:2312.03732).",
               .aliases = {"use_rslora"},
               .section = section});
}

void add_source_keys(std::vector<KeySpec>& t, const std::string& list, KeySpec head) {
  const std::string section = "Data", prefix = list + "[].";
  head.name = list;
  head.type = kMapList;
  head.section = section;
  t.push_back(head);
  t.push_back(
      {.name = prefix + "path",
       .doc = "A file (JSONL, JSON, CSV, text or Parquet), a pattern such as `data/*.jsonl`, a "
              "folder, or the id of a dataset. Relative to where hone is started.",
       .required = true,
       .aliases = {prefix + "data_files", prefix + "file"},
       .section = section});
  t.push_back({.name = prefix + "format",
               .type = kChoice,
               .default_value = "messages",
               .doc = "How a row is written; docs/data.md shows each.",
               .choices = {"messages", "sharegpt", "alpaca", "prompt_completion", "text"},
               .aliases = {prefix + "type"},
               .section = section});
  t.push_back({.name = prefix + "split",
               .doc = "Of a folder or hub dataset, the files of this split (`train`, `test`), "
                      "picked by its card or by name; without it `train`.",
               .section = section});
  t.push_back({.name = prefix + "name",
               .doc = "Of a folder or hub dataset, the configuration of its card.",
               .aliases = {prefix + "subset", prefix + "config_name"},
               .section = section});
  t.push_back({.name = prefix + "revision",
               .doc = "Of a hub dataset: branch, tag or commit.",
               .section = section});
  t.push_back({.name = prefix + "columns",
               .type = kTextMap,
               .doc = "Our column name to the file's: `{prompt: question, completion: answer}`.",
               .aliases = {prefix + "field_mapping"},
               .section = section});
  t.push_back({.name = prefix + "max_rows",
               .type = kInteger,
               .doc = "Only the first rows.",
               .minimum = 1,
               .aliases = {prefix + "max_samples"},
               .section = section});
  t.push_back({.name = prefix + "sample_by",
               .type = kChoice,
               .default_value = "line",
               .doc = "What a row of a .txt file is; paragraphs are set off by empty lines.",
               .choices = {"line", "paragraph", "document"},
               .section = section});
}

void add_weight_key(std::vector<KeySpec>& t) {
  t.push_back({.name = "datasets[].weight",
               .type = kNumber,
               .doc = "Share of an epoch's rows, in proportion to the other datasets' weights: "
                      "a small dataset is repeated, a large one spread over epochs. For every "
                      "dataset or for none; without weights every row comes once an epoch.",
               .minimum = 0,
               .exclusive_minimum = true,
               .aliases = {"datasets[].probability", "datasets[].sampling_weight",
                           "datasets[].interleave_prob"},
               .section = "Data"});
}

void add_mixing_keys(std::vector<KeySpec>& t) {
  const std::string section = "Data";
  t.push_back({.name = "deduplicate",
               .type = kBool,
               .default_value = "false",
               .doc = "Of rows that are equal after parsing, within and across the datasets of a "
                      "list, keep the first and count the others.",
               .aliases = {"dataset_exact_deduplication", "dedup"},
               .section = section});
  t.push_back({.name = "eval_contamination",
               .type = kChoice,
               .default_value = "warn",
               .doc = "Evaluation rows that also stand in the training data (docs/data.md): `warn` "
                      "counts them, `error` stops, `drop` leaves them out of the evaluation, `off` "
                      "does not look.",
               .choices = {"warn", "error", "drop", "off"},
               .section = section});
}

void add_data_keys(std::vector<KeySpec>& t) {
  const std::string section = "Data";
  add_source_keys(t, "datasets",
                  {.doc = "What to train on; several are joined.",
                   .required = true,
                   .aliases = {"dataset", "train_datasets"}});
  add_weight_key(t);
  add_source_keys(
      t, "eval_datasets",
      {.doc = "Held-out data: its loss is measured, it is never trained on. Keys as in datasets[].",
       .aliases = {"test_datasets", "validation_datasets", "eval_dataset", "validation_dataset"}});
  t.push_back(
      {.name = "eval_split",
       .type = kNumber,
       .doc = "Without eval_datasets: hold out this fraction of the rows (below 1) or this many "
              "rows (1 or more), picked by `seed`.",
       .minimum = 0,
       .exclusive_minimum = true,
       .aliases = {"val_set_size", "val_size"},
       .section = section});
  t.push_back(
      {.name = "max_length",
       .type = kInteger,
       .default_value = "1024",
       .doc =
           "Tokens a row (or pack) may have; longer rows are cut at the end and counted. At most "
           "the model's max_position_embeddings.",
       .minimum = 2,
       .maximum = 16777216,
       .aliases = {"max_seq_length", "max_seq_len", "sequence_len", "cutoff_len", "seq_length"},
       .section = section});
  t.push_back({.name = "packing",
               .type = kBool,
               .default_value = "false",
               .doc =
                   "Fill each row up to max_length with several documents. Attention never crosses "
                   "documents, positions restart in each.",
               .aliases = {"sample_packing", "packed", "neat_packing"},
               .section = section});
  t.push_back({.name = "assistant_only_loss",
               .type = kBool,
               .default_value = "false",
               .doc = "messages, sharegpt: train the assistant's turns only.",
               .section = section});
  t.push_back({.name = "completion_only_loss",
               .type = kBool,
               .default_value = "true",
               .doc = "prompt_completion, alpaca: train the completion only.",
               .section = section});
  t.push_back({.name = "system_prompt",
               .doc = "Put before conversations that have no system turn.",
               .aliases = {"default_system"},
               .section = section});
  t.push_back({.name = "on_bad_row",
               .type = kChoice,
               .default_value = "error",
               .doc = "A row that can't be used: stop with its line, or skip and count it.",
               .choices = {"error", "skip"},
               .section = section});
  t.push_back({.name = "max_bad_rows",
               .type = kNumber,
               .default_value = "0.1",
               .doc = "With `on_bad_row: skip`, stop when more rows are bad: a fraction of all "
                      "rows (below 1), or a number of rows.",
               .minimum = 0,
               .exclusive_minimum = true,
               .section = section});
  add_mixing_keys(t);
}

}  // namespace

void add_input_keys(std::vector<KeySpec>& t) {
  add_model_keys(t);
  add_adapter_keys(t);
  add_data_keys(t);
}

}  // namespace hone::recipes
