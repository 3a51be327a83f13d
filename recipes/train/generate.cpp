// hone generate: a prompt or a conversation in, text out, token by token; under mpirun on the ranks
// that one model is split over.
#include "trainer/generate.h"

#include <cstdio>
#include <iostream>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/agree.h"
#include "recipes/train/model_ranks.h"
#include "recipes/train/ranks.h"
#include "recipes/train/verbs.h"

namespace hone::recipes {
namespace {

using core::Json;

struct GenerateArguments {
  ModelArguments model;
  std::string prompt, system;
  bool chat = false;
  parallel::Layout sizes;
  trainer::GenerateOptions options;
};

// Prints text as it becomes certain: the bytes of one character may be spread over several tokens.
// One that does not speak only puts it together.
class Printer {
 public:
  Printer(const data::Tokenizer& tokenizer, bool speaks) : tokenizer_(tokenizer), speaks_(speaks) {}
  void add(int32_t id) {
    ids_.push_back(id);
    if (!speaks_) return;
    const std::string text = tokenizer_.decode(ids_, true);
    if (text.ends_with("\xEF\xBF\xBD") || text.size() < num_printed_) return;
    std::fwrite(text.data() + num_printed_, 1, text.size() - num_printed_, stdout);
    std::fflush(stdout);
    num_printed_ = text.size();
  }
  std::string finish() {
    std::string text = tokenizer_.decode(ids_, true);
    if (!speaks_) return text;
    if (text.size() > num_printed_)
      std::fwrite(text.data() + num_printed_, 1, text.size() - num_printed_, stdout);
    std::fputs("\n", stdout);
    std::fflush(stdout);
    return text;
  }

 private:
  const data::Tokenizer& tokenizer_;
  const bool speaks_;
  std::vector<int32_t> ids_;
  size_t num_printed_ = 0;
};

Json options_json(const trainer::GenerateOptions& o) {
  return {{"max_new_tokens", o.max_new_tokens},
          {"greedy", o.greedy},
          {"temperature", o.temperature},
          {"top_p", o.top_p},
          {"top_k", o.top_k},
          {"seed", o.seed}};
}

// The same on all ranks: rank 0 says what is fed, and prints.
class Session {
 public:
  Session(const GenerateArguments& arguments, parallel::Communicator& world)
      : world_(world), options_(arguments.options) {
    parallel::Layout layout;
    parallel::together(world, [&] { layout = exact_layout(arguments.sizes, world.size()); });
    const ModelFolders folders =
        find_model_together(arguments.model, layout, options_json(options_), world);
    parallel::together(world, [&] {
      tokenizer_ = data::Tokenizer::load(folders.tokenizer);
      if (arguments.chat && !tokenizer_->has_chat_template()) {
        core::fail(core::ErrorKind::kBadInput, {.what = "the model has no chat template",
                                                .where = folders.tokenizer.string(),
                                                .hint = "leave --chat out to continue plain text"});
      }
    });
    require_same(world, {{"tokenizer", tokenizer_->fingerprint()}}, "ranks have other models");
    // Tokens are computed one at a time: stages cost what their weights do.
    loaded_ = load_on_ranks(folders, arguments.model, layout, 1, world);
    parallel::together(world, [&] {
      options_.eos_token_ids = trainer::end_token_ids(loaded_->model, folders.base, *tokenizer_);
    });
  }

  std::string write(const std::string& text, bool add_special_tokens) {
    std::vector<int32_t> prompt;
    // Of rank 0: a template may have written the time of day into its own.
    const std::string told = parallel::text_of_first(world_, text);
    parallel::together(world_, [&] {
      prompt = tokenizer_->encode(told, add_special_tokens).ids;
      trainer::check_prompt(loaded_->model, prompt);
    });
    Printer printer(*tokenizer_, speaks());
    trainer::generate(loaded_->model, prompt, options_, [&](int32_t id) {
      printer.add(id);
      return true;
    });
    return printer.finish();
  }

  // The template writes its own special tokens.
  std::string answer(const Json& messages) {
    std::string text;
    parallel::together(world_, [&] { text = tokenizer_->render(messages, true).text; });
    return write(text, false);
  }

  // What is typed, a line with text; nullopt at the end of the input, which only rank 0 has.
  std::optional<std::string> read_line() {
    std::string line;
    while (speaks() && line.empty()) {
      std::fputs("> ", stderr);
      if (!std::getline(std::cin, line)) break;
    }
    line = parallel::text_of_first(world_, line);
    return line.empty() ? std::nullopt : std::optional(line);
  }

 private:
  bool speaks() const { return world_.rank() == 0; }

  parallel::Communicator& world_;
  trainer::GenerateOptions options_;
  std::optional<data::Tokenizer> tokenizer_;
  std::optional<ModelOnRanks> loaded_;
};

Json first_messages(const GenerateArguments& arguments) {
  Json messages = Json::array();
  if (!arguments.system.empty())
    messages.push_back({{"role", "system"}, {"content", arguments.system}});
  return messages;
}

int converse(Session& session, Json messages) {
  while (const auto line = session.read_line()) {
    messages.push_back({{"role", "user"}, {"content", *line}});
    messages.push_back({{"role", "assistant"}, {"content", session.answer(messages)}});
  }
  return 0;
}

int generate(const GenerateArguments& arguments, parallel::Communicator& world) {
  parallel::together(world, [&] {
    if (!arguments.prompt.empty() || arguments.chat) return;
    core::fail(core::ErrorKind::kUsage, {.what = "give --prompt TEXT, or --chat to type"});
  });
  Session session(arguments, world);
  if (!arguments.chat) {
    session.write(arguments.prompt, true);
    return 0;
  }
  Json messages = first_messages(arguments);
  if (arguments.prompt.empty()) return converse(session, std::move(messages));
  messages.push_back({{"role", "user"}, {"content", arguments.prompt}});
  session.answer(messages);
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<GenerateArguments>();
  trainer::GenerateOptions& o = a->options;
  CLI::App* verb = app.add_subcommand("generate", "Let a model write");
  verb->add_option("model", a->model.model, "Folder, ID or ID@REVISION of a model or an adapter")
      ->required();
  verb->add_option("--prompt", a->prompt, "Text to continue; with --chat the user's message");
  verb->add_flag("--chat", a->chat,
                 "Use the model's chat template; without --prompt, read messages line by line");
  verb->add_option("--system", a->system, "With --chat: the system message");
  verb->add_option("--max-new-tokens", o.max_new_tokens, "At most so many tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--greedy", o.greedy, "Always take the likeliest token");
  verb->add_option("--temperature", o.temperature, "Divides the logits")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--top-p", o.top_p, "Smallest set of tokens with this probability")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--top-k", o.top_k, "The k likeliest tokens; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--seed", o.seed, "Of the draws")->capture_default_str();
  add_model_options(*verb, a->model);
  add_rank_options(*verb, a->sizes);
  verb->callback([&chosen, a] {
    chosen = [a] {
      return on_ranks([a](parallel::Communicator& world) { return generate(*a, world); });
    };
  });
}

}  // namespace hone::recipes
