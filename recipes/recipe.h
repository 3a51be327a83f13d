// A recipe file as typed values. The only reader of recipe keys beside the schema.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "models/spec/adapter.h"
#include "parallel/layout.h"
#include "recipes/check.h"
#include "trainer/options.h"

namespace hone::recipes {

struct HubTarget {
  bool push = false;
  bool every_save = false;  // hub_strategy
  std::string model_id, branch, endpoint;
  bool is_private = true, create_pr = false;
};

// Where a run is shown besides its own files.
struct ReportTargets {
  bool tensorboard = false, html = false;
  std::filesystem::path logging_dir;  // of event files
};

// What to do about evaluation rows that are also trained on.
enum class ContaminationPolicy { kWarn, kError, kDrop, kOff };

// How ranks work together.
struct ParallelOptions {
  int64_t shard_level = 3;  // arXiv:1910.02054: 1 optimizer states, 2 + gradients, 3 + parameters
  std::string backend = "auto";  // "auto", "mpi", "nccl"
  bool strict = false;           // the same bits on 1, 2, 4, ... data-parallel ranks
  int64_t chunks_per_rank = 1;   // of layers, of the pipeline axis
  double timeout_seconds = 60;   // comm_timeout
  std::string interface;         // comm_interface; "": found out
  int port = 0;                  // comm_port
};

struct Recipe {
  std::string path;  // as the user gave it
  std::string model_name_or_path, model_revision;
  std::string tokenizer;           // "": the model's
  std::string dtype;               // "auto", "float32", "bfloat16"
  std::string device;              // "auto", "cpu", "cuda"
  models::AdapterOptions adapter;  // r == 0: full fine-tuning, or adapter_path
  std::string adapter_path;        // "": a fresh adapter, or none
  std::vector<data::DatasetSource> datasets, eval_datasets;
  double eval_split = 0;  // 0: none; below 1 a fraction, else rows
  ContaminationPolicy eval_contamination = ContaminationPolicy::kWarn;
  data::DatasetOptions dataset_options;
  data::LoaderOptions loader;     // its gradient_accumulation_steps are those of all ranks
  int64_t accumulation = 1;       // micro-batches of a step on a rank
  int64_t global_batch_size = 1;  // rows of a step on all ranks
  double max_kl = 0;              // of the final model's proof; 0: by the type it is saved in
  double num_train_epochs = 0;    // used when train.max_steps is 0
  std::vector<std::string> sample_prompts;
  int64_t sample_eval_rows = 0;
  trainer::TrainOptions train;  // without identity and run_info
  parallel::Layout layout;
  ParallelOptions parallel;
  HubTarget hub;
  ReportTargets reports;
  core::Json resolved;                  // every key with its value, by its own name
  std::map<std::string, Place> places;  // of the keys that were given
  std::vector<std::string> notes;       // what a user should know, but is no error
  bool trains_adapter() const { return adapter.enabled() || !adapter_path.empty(); }
};

// As many ranks as the sizes of the recipe make, dp_replicate_size being 1 where it is not given:
// for who reads a recipe and does not train.
constexpr int64_t kAnyRanks = 0;

struct RecipeOptions {
  std::vector<std::string> overrides;  // --set key=value
  int64_t num_ranks = 1;
  bool checks_files = true;  // that model, tokenizer and datasets are there
};

// Reads and checks a recipe without touching the network, a GPU or weights. Throws kMissingInput
// when the file is not there; kBadRecipe listing every problem, in line order, one a line
// ("recipe.yaml:12: learning_rate: got ..."); kBadInput when only the config.json of a local model
// is at fault.
Recipe load_recipe(const std::string& path, const RecipeOptions& options = {});

// The same for text that is already read.
Recipe parse_recipe(const std::string& text, const std::string& path,
                    const RecipeOptions& options = {});

}  // namespace hone::recipes
