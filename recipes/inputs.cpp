#include "recipes/inputs.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "core/text.h"
#include "data/data_files.h"
#include "data/source_names.h"
#include "recipes/contamination_check.h"
#include "recipes/eval_split.h"
#include "recipes/hub_access.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

// One line that is rewritten on a terminal; silence elsewhere.
data::Progress progress_line(const std::string& what) {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return [what](double fraction) {
    std::fprintf(stderr, "\r%s: %3.0f %%%s", what.c_str(), 100 * fraction,
                 fraction >= 1 ? "\n" : "");
  };
}

data::TokenCache prepare(const std::string& name, const std::vector<data::DatasetSource>& sources,
                         const Recipe& recipe, const data::Tokenizer& tokenizer) {
  data::TokenCache cache =
      data::prepare_dataset(sources, recipe.dataset_options, tokenizer, token_cache_root(),
                            progress_line("tokenizing " + name));
  const data::DatasetTotals& t = cache.totals();
  std::string text = core::format_count(static_cast<uint64_t>(t.num_rows)) + " rows, " +
                     core::format_count(static_cast<uint64_t>(t.num_tokens)) + " tokens, " +
                     core::format_count(static_cast<uint64_t>(t.num_trained_tokens)) + " trained";
  if (t.num_truncated_rows > 0) {
    text += "; " + core::format_count(static_cast<uint64_t>(t.num_truncated_rows)) +
            " rows cut at max_length " + std::to_string(recipe.dataset_options.max_length) +
            ", losing " + core::format_count(static_cast<uint64_t>(t.num_truncated_tokens)) +
            " tokens";
  }
  if (t.num_bad_rows > 0)
    text += "; " + core::format_count(static_cast<uint64_t>(t.num_bad_rows)) + " bad rows skipped";
  if (t.num_duplicate_rows > 0)
    text += "; " + core::format_count(static_cast<uint64_t>(t.num_duplicate_rows)) +
            " duplicates left out";
  spdlog::info("{}: {}", name, text);
  return cache;
}

}  // namespace

fs::path token_cache_root() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "hone" / "tokens";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    core::fail(core::ErrorKind::kUsage,
               {.what = "neither XDG_CACHE_HOME nor HOME is set", .hint = "set XDG_CACHE_HOME"});
  }
  return fs::path(home) / ".cache" / "hone" / "tokens";
}

std::string file_hash(const fs::path& path) {
  return data::content_hash(path, token_cache_root() / "content");
}

ResolvedInputs resolve_inputs(const Recipe& recipe) {
  hub::ResolveOptions options = hub_access(recipe.hub.endpoint);
  ResolvedInputs inputs;
  inputs.model = hub::resolve_model(recipe.model_name_or_path, recipe.model_revision, options);
  if (!recipe.adapter_path.empty())
    inputs.adapter = hub::resolve_model(recipe.adapter_path, "", options);
  options.select = hub::select_model_files(hub::ModelPart::kTokenizer);
  inputs.tokenizer_folder = recipe.tokenizer.empty()
                                ? inputs.model.folder
                                : hub::resolve_model(recipe.tokenizer, "", options).folder;
  return inputs;
}

PreparedData prepare_data(const Recipe& recipe, const data::Tokenizer& tokenizer) {
  const hub::ResolveOptions access = hub_access(recipe.hub.endpoint);
  std::vector<NamedRepo> repos;
  const auto train_sources = fetch_datasets(recipe.datasets, access, repos);
  const auto eval_sources = fetch_datasets(recipe.eval_datasets, access, repos);
  PreparedData data{.train = prepare("training data", train_sources, recipe, tokenizer),
                    .train_names = data::source_names(recipe.datasets),
                    .repos = std::move(repos)};
  if (recipe.eval_split > 0) {
    SplitCaches parts =
        split_cache(data.train, recipe.eval_split, recipe.train.seed, token_cache_root());
    spdlog::info("{} rows held out for evaluation", parts.eval.num_rows());
    data.train = std::move(parts.train);
    data.eval = std::move(parts.eval);
    data.eval_names = data.train_names;
  } else if (!recipe.eval_datasets.empty()) {
    data.eval = prepare("evaluation data", eval_sources, recipe, tokenizer);
    data.eval_names = data::source_names(recipe.eval_datasets);
  }
  if (data.eval && recipe.eval_contamination != ContaminationPolicy::kOff) {
    data.contamination = check_contamination(data.train, *data.eval, token_cache_root());
    data.eval = apply_contamination_policy(recipe.eval_contamination, *data.contamination,
                                           *data.eval, token_cache_root());
  }
  return data;
}

data::LoaderOptions eval_loader_options(const Recipe& recipe) {
  data::LoaderOptions options = recipe.loader;
  options.shuffle = false;
  options.weights.clear();
  options.gradient_accumulation_steps = 1;
  return options;
}

}  // namespace hone::recipes
