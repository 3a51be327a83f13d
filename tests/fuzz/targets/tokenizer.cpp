// tokenizer.json: one that loads gives ids of its vocabulary, offsets inside the text, and decodes
// what it encoded.
#include "data/tokenizer.h"

#include "core/text.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

void check_text(const data::Tokenizer& tokenizer, std::string_view text) {
  const data::Encoding encoding = tokenizer.encode(text, true);
  require(encoding.ids.size() == encoding.offsets.size(), "ids and offsets differ in number");
  for (const int32_t id : encoding.ids) require(id >= 0, "an id is negative");
  for (const auto& [begin, end] : encoding.offsets)
    require(begin <= end && end <= text.size(), "an offset is outside the text");
  const data::Encoding again = tokenizer.encode(text, true);
  require(again.ids == encoding.ids, "the same text has other ids");
  require(core::is_valid_utf8(tokenizer.decode(encoding.ids, false)), "decoded text is not UTF-8");
}

}  // namespace

void fuzz_tokenizer(std::string_view input) {
  write_scratch("tokenizer/tokenizer.json", input);
  accepts([&] {
    const data::Tokenizer tokenizer = data::Tokenizer::load(scratch_folder() / "tokenizer");
    require(tokenizer.vocab_size() >= 0, "a vocabulary of negative size");
    for (const char* text :
         {"", "Hello world, 12 + 3", "  \n\t h\u00e9 \u4e16\u754c \U0001F600 <s>"})
      check_text(tokenizer, text);
  });
}

}  // namespace hone::fuzz
