// Keys of how a run goes: batch, optimizer, layout, output, hub.
#include "recipes/schema_keys.h"

namespace hone::recipes {
namespace {

using enum ValueType;

void add_batch_keys(std::vector<KeySpec>& t) {
  const std::string section = "Batch and length of the run";
  t.push_back({.name = "micro_batch_size",
               .type = kInteger,
               .default_value = "1",
               .doc = "Rows (or packs) of one forward and backward pass on a rank.",
               .minimum = 1,
               .aliases = {"per_device_train_batch_size", "local_batch_size", "batch_size"},
               .section = section});
  t.push_back({.name = "gradient_accumulation_steps",
               .type = kInteger,
               .default_value = "1",
               .doc = "Micro-batches of one update on a rank.",
               .minimum = 1,
               .aliases = {"gradient_accumulation", "accumulation_steps"},
               .section = section});
  t.push_back({.name = "global_batch_size",
               .type = kInteger,
               .doc = "Rows (or packs) of one update: micro_batch_size x "
                      "gradient_accumulation_steps x dp_replicate_size x dp_shard_size. Any two of "
                      "the three batch keys give the third. Given with micro_batch_size, training "
                      "is the same on any number of ranks.",
               .minimum = 1,
               .aliases = {"train_batch_size", "total_batch_size"},
               .section = section});
  t.push_back({.name = "max_steps",
               .type = kInteger,
               .doc = "Updates to do; the data repeats as needed. Wins over num_train_epochs.",
               .minimum = 1,
               .aliases = {"max_train_steps", "train_steps"},
               .section = section});
  t.push_back({.name = "num_train_epochs",
               .type = kNumber,
               .default_value = "3",
               .doc = "Passes over the data when max_steps is not given; may be a fraction.",
               .minimum = 0,
               .exclusive_minimum = true,
               .aliases = {"num_epochs", "epochs"},
               .section = section});
  t.push_back({.name = "seed",
               .type = kInteger,
               .default_value = "42",
               .doc = "Of data order, adapter weights and dropout.",
               .minimum = 0,
               .maximum = 9007199254740992.0,
               .section = section});
}

void add_optimizer_keys(std::vector<KeySpec>& t) {
  const std::string section = "Optimizer";
  t.push_back({.name = "learning_rate",
               .type = kNumber,
               .default_value = "5.0e-5",
               .doc = "Peak learning rate of AdamW.",
               .minimum = 0,
               .maximum = 100,
               .exclusive_minimum = true,
               .aliases = {"lr"},
               .section = section});
  t.push_back({.name = "lr_scheduler_type",
               .type = kChoice,
               .default_value = "linear",
               .doc = "How the learning rate falls after the warm-up. `wsd` stays constant and "
                      "decays linearly in the last tenth.",
               .choices = {"linear", "cosine", "constant", "wsd"},
               .aliases = {"lr_scheduler", "lr_decay_style"},
               .section = section});
  t.push_back({.name = "warmup_ratio",
               .type = kNumber,
               .default_value = "0.0",
               .doc = "Part of the schedule in which the learning rate rises from 0, rounded up to "
                      "whole steps.",
               .minimum = 0,
               .maximum = 1,
               .section = section});
  t.push_back({.name = "warmup_steps",
               .type = kInteger,
               .default_value = "0",
               .doc = "The same in steps; give one of the two.",
               .minimum = 0,
               .aliases = {"num_warmup_steps", "lr_warmup_steps"},
               .section = section});
  t.push_back(
      {.name = "scheduler_steps",
       .type = kInteger,
       .doc = "Length of the schedule when max_steps will be raised later; max_steps if not given.",
       .minimum = 1,
       .aliases = {"lr_decay_steps"},
       .section = section});
  t.push_back({.name = "weight_decay",
               .type = kNumber,
               .default_value = "0.0",
               .doc = "AdamW's decoupled weight decay.",
               .minimum = 0,
               .aliases = {"wd"},
               .section = section});
  t.push_back({.name = "adam_beta1",
               .type = kNumber,
               .default_value = "0.9",
               .doc = "Decay of the first moment.",
               .minimum = 0,
               .maximum = 1,
               .exclusive_maximum = true,
               .aliases = {"beta1"},
               .section = section});
  t.push_back({.name = "adam_beta2",
               .type = kNumber,
               .default_value = "0.999",
               .doc = "Decay of the second moment.",
               .minimum = 0,
               .maximum = 1,
               .exclusive_maximum = true,
               .aliases = {"beta2"},
               .section = section});
  t.push_back({.name = "adam_epsilon",
               .type = kNumber,
               .default_value = "1.0e-8",
               .doc = "Added to the denominator.",
               .minimum = 0,
               .exclusive_minimum = true,
               .aliases = {"adam_eps", "eps"},
               .section = section});
  t.push_back({.name = "max_grad_norm",
               .type = kNumber,
               .default_value = "1.0",
               .doc = "Gradients are scaled down to this global norm; 0 turns it off.",
               .minimum = 0,
               .aliases = {"gradient_clipping", "grad_clip", "clip_grad_norm"},
               .section = section});
  t.push_back(
      {.name = "gradient_checkpointing",
       .type = kBool,
       .default_value = "false",
       .doc =
           "Compute activations again in the backward pass: less memory, about a third more time.",
       .aliases = {"activation_checkpointing", "enable_activation_checkpointing"},
       .section = section});
}

void add_layout_keys(std::vector<KeySpec>& t, const std::string& section) {
  const auto add = [&](const std::string& name, const std::string& default_value,
                       const std::string& doc, std::vector<std::string> aliases) {
    t.push_back({.name = name,
                 .type = kInteger,
                 .default_value = default_value,
                 .doc = doc,
                 .minimum = 1,
                 .maximum = 1048576,
                 .aliases = std::move(aliases),
                 .section = section});
  };
  add("dp_replicate_size", "",
      "Groups of ranks that each hold the whole model. Not given: the ranks that the other sizes "
      "leave over. The five sizes multiply to the number of ranks.",
      {"data_parallel_replicate_dim"});
  add("dp_shard_size", "1",
      "Ranks that training state is sharded over; dp_shard_level says what of it.",
      {"data_parallel_shard_dim", "fsdp_size"});
  add("context_parallel_size", "1", "Ranks one sequence is split over (arXiv:2309.14509).",
      {"cp_size", "context_parallel_dim"});
  add("tensor_parallel_size", "1", "Ranks one layer is split over (arXiv:1909.08053).",
      {"tp_size", "tensor_parallel_dim"});
  add("pipeline_parallel_size", "1", "Ranks the layers are spread over.",
      {"pp_size", "pipeline_parallel_dim"});
  t.push_back({.name = "pipeline_schedule",
               .type = kChoice,
               .default_value = "1f1b",
               .doc =
                   "How micro-batches go through the ranks of pipeline_parallel_size "
                   "(arXiv:2104.04473): `1f1b` one chunk of layers a rank, `interleaved` several, "
                   "which wait less and send more.",
               .choices = {"1f1b", "interleaved"},
               .aliases = {"pipeline_parallel_schedule"},
               .section = section});
  add("virtual_pipeline_size", "",
      "Chunks of layers a rank with pipeline_schedule interleaved. Not given: 2.",
      {"virtual_pipeline_model_parallel_size", "virtual_pipeline_parallel_size"});
}

void add_parallel_keys(std::vector<KeySpec>& t) {
  const std::string section = "Parallel layout";
  add_layout_keys(t, section);
  t.push_back({.name = "dp_shard_level",
               .type = kInteger,
               .default_value = "3",
               .doc = "What the ranks of dp_shard_size share: 1 optimizer states, 2 gradients too, "
                      "3 parameters too, gathered stage by stage (arXiv:1910.02054).",
               .minimum = 1,
               .maximum = 3,
               .aliases = {"zero_stage"},
               .section = section});
  t.push_back({.name = "backend",
               .type = kChoice,
               .default_value = "auto",
               .doc = "How ranks talk. `auto` is `nccl` between GPUs and `mpi` between CPUs.",
               .choices = {"auto", "mpi", "nccl"},
               .aliases = {"ddp_backend"},
               .section = section});
  t.push_back({.name = "strict",
               .type = kBool,
               .default_value = "false",
               .doc = "The same bits on 1, 2, 4, ... data-parallel ranks, for the same "
                      "global_batch_size, micro_batch_size and other sizes: sums follow one fixed "
                      "tree over the micro-batches.",
               .section = section});
}

// How ranks watch each other.
void add_watch_of_ranks(std::vector<KeySpec>& t) {
  const std::string section = "Parallel layout";
  t.push_back({.name = "comm_timeout",
               .type = kNumber,
               .default_value = "60",
               .doc = "Seconds from the last sign of life of a rank to where all the others have "
                      "named it and ended with exit code 76. A rank gives signs of life whatever "
                      "it computes or waits for.",
               .minimum = 1,
               .aliases = {"ddp_timeout", "dist_timeout"},
               .section = section});
  t.push_back({.name = "comm_interface",
               .doc = "Network interface (`eth0`), or an address, over which ranks watch each "
                      "other. Not given: the one that this machine's name leads to, and the "
                      "loopback where all ranks are on one machine.",
               .section = section});
  t.push_back({.name = "comm_port",
               .type = kInteger,
               .default_value = "0",
               .doc = "First of the TCP ports at which the ranks of a machine watch each other, "
                      "one for each; 0: any that are free.",
               .minimum = 0,
               .maximum = 65535,
               .section = section});
}

void add_output_keys(std::vector<KeySpec>& t) {
  const std::string section = "Output";
  t.push_back(
      {.name = "output_dir",
       .doc = "Folder of the run: final model, model card, metrics.jsonl, run.json, checkpoints.",
       .required = true,
       .section = section});
  t.push_back({.name = "max_kl",
               .type = kNumber,
               .doc =
                   "The final model is read back and compared with the trained one on a few "
                   "held-out rows (else "
                   "training rows): above this KL divergence, in nats a token, the run fails and "
                   "nothing is pushed. Not given: by the type it is saved in.",
               .minimum = 0,
               .exclusive_minimum = true,
               .section = section});
  t.push_back({.name = "save_dtype",
               .type = kChoice,
               .doc = "Type of the saved weights; not given: each tensor's type in the input "
                      "(adapters: float32).",
               .choices = {"float32", "bfloat16", "float16"},
               .section = section});
  t.push_back({.name = "logging_steps",
               .type = kInteger,
               .default_value = "10",
               .doc = "A row in metrics.jsonl every so many steps.",
               .minimum = 1,
               .aliases = {"log_every_n_steps"},
               .section = section});
  t.push_back(
      {.name = "eval_steps",
       .type = kInteger,
       .default_value = "0",
       .doc = "Evaluate every so many steps; 0: only before the first step and after the last.",
       .minimum = 0,
       .aliases = {"val_every_steps", "run_val_every_n_steps"},
       .section = section});
  t.push_back({.name = "save_steps",
               .type = kInteger,
               .default_value = "0",
               .doc = "A checkpoint every so many steps; 0: only after the last.",
               .minimum = 0,
               .aliases = {"ckpt_every_steps", "save_every_n_steps"},
               .section = section});
  t.push_back({.name = "save_total_limit",
               .type = kInteger,
               .doc = "Keep this many checkpoints, the newest; not given: all.",
               .minimum = 1,
               .aliases = {"keep_latest_k", "max_checkpoints"},
               .section = section});
  t.push_back({.name = "report_to",
               .type = kTextOrList,
               .default_value = "[tensorboard, html]",
               .doc = "How the run is shown besides metrics.jsonl and samples.jsonl: `tensorboard` "
                      "(event files), `html` (report.html in output_dir), `all` or `none`.",
               .section = section});
  t.push_back({.name = "logging_dir",
               .doc = "Folder of the TensorBoard event files; not given: `tensorboard` in "
                      "output_dir.",
               .aliases = {"tensorboard_dir", "tensorboard_log_dir"},
               .section = section});
}

void add_hub_keys(std::vector<KeySpec>& t) {
  const std::string section = "Hub";
  t.push_back({.name = "push_to_hub",
               .type = kBool,
               .default_value = "false",
               .doc = "Push the final model and its card when training ends.",
               .section = section});
  t.push_back({.name = "hub_strategy",
               .type = kChoice,
               .default_value = "end",
               .doc = "`every_save` also pushes the model files of every checkpoint while training "
                      "goes on; one that can't be pushed is a warning, and the next save is pushed "
                      "again.",
               .choices = {"end", "every_save"},
               .section = section});
  t.push_back({.name = "hub_model_id",
               .doc = "Repository to push to, `owner/name`; made if it is not there.",
               .aliases = {"export_hub_model_id"},
               .section = section});
  t.push_back({.name = "hub_revision",
               .default_value = "main",
               .doc = "Branch to push to; made from main if it is not there.",
               .section = section});
  t.push_back({.name = "hub_create_pr",
               .type = kBool,
               .default_value = "false",
               .doc =
                   "Open a pull request against that branch instead of committing to it. Needs a "
                   "hub over HTTP, and a repository that is there.",
               .aliases = {"create_pr"},
               .section = section});
  t.push_back({.name = "hub_private_repo",
               .type = kBool,
               .default_value = "true",
               .doc = "Whether a new repository is private.",
               .aliases = {"hub_private"},
               .section = section});
  t.push_back({.name = "hub_endpoint",
               .doc =
                   "Where pushes go: a URL or the folder of a local store. Not given: "
                   "`HF_ENDPOINT`, else the local store at "
                   "`HONE_HUB` (`~/.local/share/hone/hub`). A URL is also where ids that are "
                   "nowhere near are pulled from; not given: `HF_ENDPOINT`, else the public hub.",
               .section = section});
}

}  // namespace

void add_run_keys(std::vector<KeySpec>& t) {
  add_batch_keys(t);
  add_optimizer_keys(t);
  add_parallel_keys(t);
  add_watch_of_ranks(t);
  add_output_keys(t);
  add_hub_keys(t);
}

}  // namespace hone::recipes
