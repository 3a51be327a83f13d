// hone eval: loss and perplexity of a model over a data file; under mpirun on all its ranks.
#include <cstdio>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "data/row_format.h"
#include "parallel/comm/agree.h"
#include "recipes/inputs.h"
#include "recipes/train/model_ranks.h"
#include "recipes/train/ranks.h"
#include "recipes/train/verbs.h"
#include "trainer/evaluate.h"

namespace hone::recipes {
namespace {

using core::Json;

struct EvalArguments {
  ModelArguments model;
  data::DatasetSource source;
  data::DatasetOptions dataset;
  data::LoaderOptions loader;
  parallel::Layout sizes;
  bool train_prompts = false, skip_bad_rows = false, json = false;
};

void print(const EvalArguments& a, const trainer::EvalResult& result) {
  if (a.json) {
    const Json report{{"model", a.model.model},      {"data", a.source.path.string()},
                      {"eval_loss", result.loss},    {"perplexity", result.perplexity},
                      {"tokens", result.num_tokens}, {"trained_tokens", result.num_trained_tokens}};
    std::fputs(core::dump_json(report).c_str(), stdout);
    return;
  }
  std::printf("loss %.6f, perplexity %.4f over %s tokens (%s in all)\n", result.loss,
              result.perplexity,
              core::format_count(static_cast<uint64_t>(result.num_trained_tokens)).c_str(),
              core::format_count(static_cast<uint64_t>(result.num_tokens)).c_str());
}

Json options_json(const EvalArguments& a) {
  return {{"max_length", a.loader.max_length},
          {"micro_batch_size", a.loader.micro_batch_size},
          {"packing", a.loader.packing}};
}

// The token cache's key says what it is made of: data, tokenizer, template and options.
data::TokenCache prepare_together(const EvalArguments& a, const ModelFolders& folders,
                                  parallel::Communicator& world) {
  std::optional<data::Tokenizer> tokenizer;
  parallel::together(world, [&] { tokenizer = data::Tokenizer::load(folders.tokenizer); });
  std::optional<data::TokenCache> cache;
  first_then_others(world, [&] {
    cache = data::prepare_dataset({a.source}, a.dataset, *tokenizer, token_cache_root());
  });
  require_same(world, {{"data", cache->key()}}, "ranks have other data or tokenizers");
  return std::move(*cache);
}

int evaluate(EvalArguments a, parallel::Communicator& world) {
  parallel::Layout layout;
  parallel::together(world, [&] {
    layout = filled_layout(a.sizes, world.size());
    if (std::filesystem::exists(a.source.path)) return;
    core::fail(core::ErrorKind::kMissingInput,
               {.what = "no such data file or folder", .where = a.source.path.string()});
  });
  a.dataset.max_length = a.loader.max_length;
  a.dataset.completion_only_loss = !a.train_prompts;
  if (a.skip_bad_rows) a.dataset.on_bad_row = data::BadRowPolicy::kSkip;
  a.source.where = "--data";
  a.loader.shuffle = false;
  const ModelFolders folders = find_model_together(a.model, layout, options_json(a), world);
  const data::TokenCache cache = prepare_together(a, folders, world);
  std::optional<data::Loader> loader;
  parallel::together(world, [&] { loader.emplace(cache, a.loader); });
  ModelOnRanks loaded = load_on_ranks(folders, a.model, layout, a.loader.max_length, world);
  const auto result = trainer::evaluate(loaded.model, *loader, loaded.mesh);
  if (world.rank() == 0) print(a, *result);
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<EvalArguments>();
  CLI::App* verb = app.add_subcommand("eval", "Loss and perplexity of a model on data");
  verb->add_option("model", a->model.model, "Folder, ID or ID@REVISION of a model or an adapter")
      ->required();
  verb->add_option("--data", a->source.path, "JSONL or JSON file, or a folder of such files")
      ->required();
  verb->add_option("--format", a->source.format,
                   "messages, sharegpt, alpaca, prompt_completion or text")
      ->transform(CLI::CheckedTransformer(data::row_formats()));
  verb->add_option("--split", a->source.split, "Of a folder: the files of this split");
  verb->add_option("--max-rows", a->source.max_rows, "Only the first rows")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--assistant-only-loss", a->dataset.assistant_only_loss,
                 "messages, sharegpt: the assistant's turns only");
  verb->add_flag("--whole-row-loss", a->train_prompts, "prompt_completion, alpaca: prompts too");
  verb->add_option("--system-prompt", a->dataset.system_prompt,
                   "For conversations without a system turn");
  verb->add_flag("--skip-bad-rows", a->skip_bad_rows, "Skip rows that can't be used");
  verb->add_option("--max-length", a->loader.max_length, "Tokens a row may have")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 24));
  verb->add_option("--micro-batch-size", a->loader.micro_batch_size, "Rows of a forward pass")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--packing", a->loader.packing, "Fill rows up to max-length");
  add_model_options(*verb, a->model);
  add_rank_options(*verb, a->sizes);
  add_context_option(*verb, a->sizes);
  verb->add_flag("--json", a->json, "Print a JSON object");
  verb->callback([&chosen, a] {
    chosen = [a] {
      return on_ranks([a](parallel::Communicator& world) { return evaluate(*a, world); });
    };
  });
}

}  // namespace hone::recipes
