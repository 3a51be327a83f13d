// hone generate: a prompt or a conversation in, text out, token by token.
#include "trainer/generate.h"

#include <cstdio>
#include <iostream>

#include "core/error.h"
#include "core/text.h"
#include "recipes/train/model_choice.h"
#include "recipes/train/verbs.h"

namespace hone::recipes {
namespace {

using core::Json;

struct GenerateArguments {
  ModelArguments model;
  std::string prompt, system;
  bool chat = false;
  trainer::GenerateOptions options;
};

// Prints text as it becomes certain: the bytes of one character may be spread over several tokens.
class Printer {
 public:
  explicit Printer(const data::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(int32_t id) {
    ids_.push_back(id);
    const std::string text = tokenizer_.decode(ids_, true);
    if (text.ends_with("\xEF\xBF\xBD") || text.size() < num_printed_) return;
    std::fwrite(text.data() + num_printed_, 1, text.size() - num_printed_, stdout);
    std::fflush(stdout);
    num_printed_ = text.size();
  }
  std::string finish() {
    const std::string text = tokenizer_.decode(ids_, true);
    if (text.size() > num_printed_)
      std::fwrite(text.data() + num_printed_, 1, text.size() - num_printed_, stdout);
    std::fputs("\n", stdout);
    std::fflush(stdout);
    return text;
  }

 private:
  const data::Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t num_printed_ = 0;
};

class Session {
 public:
  explicit Session(const GenerateArguments& arguments)
      : folders_(find_model(arguments.model)),
        tokenizer_(data::Tokenizer::load(folders_.tokenizer)),
        model_(load_for_inference(folders_, arguments.model)),
        options_(arguments.options) {
    options_.eos_token_ids = trainer::end_token_ids(model_, folders_.base, tokenizer_);
    if (arguments.chat && !tokenizer_.has_chat_template()) {
      core::fail(core::ErrorKind::kBadInput, {.what = "the model has no chat template",
                                              .where = folders_.tokenizer.string(),
                                              .hint = "leave --chat out to continue plain text"});
    }
  }

  std::string write(const std::string& text, bool add_special_tokens) const {
    const std::vector<int32_t> prompt = tokenizer_.encode(text, add_special_tokens).ids;
    Printer printer(tokenizer_);
    trainer::generate(model_, prompt, options_, [&](int32_t id) {
      printer.add(id);
      return true;
    });
    return printer.finish();
  }

  // The template writes its own special tokens.
  std::string answer(const Json& messages) const {
    return write(tokenizer_.render(messages, true).text, false);
  }

 private:
  ModelFolders folders_;
  data::Tokenizer tokenizer_;
  models::Model model_;
  trainer::GenerateOptions options_;
};

Json first_messages(const GenerateArguments& arguments) {
  Json messages = Json::array();
  if (!arguments.system.empty())
    messages.push_back({{"role", "system"}, {"content", arguments.system}});
  return messages;
}

int converse(const Session& session, Json messages) {
  for (std::string line; std::fputs("> ", stderr), std::getline(std::cin, line);) {
    if (line.empty()) continue;
    messages.push_back({{"role", "user"}, {"content", line}});
    messages.push_back({{"role", "assistant"}, {"content", session.answer(messages)}});
  }
  return 0;
}

int generate(const GenerateArguments& arguments) {
  if (arguments.prompt.empty() && !arguments.chat) {
    core::fail(core::ErrorKind::kUsage, {.what = "give --prompt TEXT, or --chat to type"});
  }
  const Session session(arguments);
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
  verb->callback([&chosen, a] { chosen = [a] { return generate(*a); }; });
}

}  // namespace hone::recipes
