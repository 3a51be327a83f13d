// What our tokenizer and templates say, for a comparison outside.
// Usage: dump_text MODEL_FOLDER INPUT.json OUTPUT.json
// INPUT: {"texts": [...], "chats": [{"messages", "extra", "add_generation_prompt"}...]}
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/tokenizer.h"

namespace {

using hone::core::Json;

Json describe_text(const hone::data::Tokenizer& tokenizer, const std::string& text) {
  const hone::data::Encoding plain = tokenizer.encode(text, false);
  const hone::data::Encoding whole = tokenizer.encode(text, true);
  Json offsets = Json::array();
  for (const auto& [begin, end] : plain.offsets) {
    offsets.push_back(begin);
    offsets.push_back(end);
  }
  return {{"ids", plain.ids},
          {"offsets", offsets},
          {"ids_special", whole.ids},
          {"decoded", tokenizer.decode(whole.ids, false)},
          {"decoded_skip", tokenizer.decode(whole.ids, true)}};
}

Json describe_chat(const hone::data::Tokenizer& tokenizer, const Json& chat) {
  try {
    const hone::data::Rendered rendered =
        tokenizer.render(chat.at("messages"), chat.at("add_generation_prompt"), chat.at("extra"));
    Json row = {{"text", rendered.text}};
    if (rendered.generation_spans) {
      row["generation_spans"] = Json::array();
      for (const auto& [begin, end] : *rendered.generation_spans) {
        row["generation_spans"].push_back({begin, end});
      }
    }
    return row;
  } catch (const hone::core::Error& error) {
    return {{"refuses", error.what()}};
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fputs("usage: dump_text MODEL_FOLDER INPUT.json OUTPUT.json\n", stderr);
    return 64;
  }
  const auto tokenizer = hone::data::Tokenizer::load(argv[1]);
  const Json input = hone::core::read_json_file(argv[2]);
  Json output = {{"texts", Json::array()}, {"chats", Json::array()}};
  for (const Json& text : input.at("texts")) {
    output["texts"].push_back(describe_text(tokenizer, text.get<std::string>()));
  }
  for (const Json& chat : input.at("chats")) {
    output["chats"].push_back(describe_chat(tokenizer, chat));
  }
  hone::core::write_file_atomic(argv[3], output.dump());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
