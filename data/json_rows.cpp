#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "data/file_readers.h"
#include "data/text_buffer.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

class JsonLines : public RowReader {
 public:
  explicit JsonLines(TextBuffer buffer) : buffer_(std::move(buffer)) {}

  bool next(FileRow& row) override {
    while (read_line(buffer_, line_)) {
      ++number_;
      row.line = number_;
      row.problem = {};
      if (line_.is_too_long()) {
        line_.refuse_in(row);
        return true;
      }
      std::string_view text = line_.text();
      while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
      while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
      if (text.empty()) continue;
      row.text = text;
      return true;
    }
    return false;
  }
  double fraction() const override { return buffer_.fraction(); }

 private:
  TextBuffer buffer_;
  RowText line_;
  uint64_t number_ = 0;
};

// Only finds where elements begin and end; each is parsed strictly later.
class JsonArray : public RowReader {
 public:
  // `buffer` stands at the opening bracket, on line `line`.
  JsonArray(TextBuffer buffer, uint64_t line) : buffer_(std::move(buffer)), line_(line) {
    buffer_.skip(1);
  }

  bool next(FileRow& row) override {
    if (ended_) return false;
    element_.clear();
    const bool found = !closed_ && read_element(row.line);
    if (!found) {
      ended_ = true;
      check_rest();
      return false;
    }
    row.problem = {};
    if (element_.is_too_long()) {
      element_.refuse_in(row);
      return true;
    }
    row.text = element_.text();
    while (!row.text.empty() && is_json_space(row.text.back())) row.text.pop_back();
    return true;
  }
  double fraction() const override { return buffer_.fraction(); }

 private:
  // Up to the comma or the bracket after it. False if the array has no further element.
  bool read_element(uint64_t& first_line) {
    bool begun = false;
    int64_t depth = 0;
    bool in_string = false, escaped = false;
    for (;;) {
      const std::string_view text = buffer_.available();
      if (text.empty()) fail_cut_off();
      size_t used = 0, keep = 0;
      for (; used < text.size(); ++used) {
        const char c = text[used];
        if (c == '\n') ++line_;
        if (in_string) {
          in_string = escaped || c != '"';
          escaped = !escaped && c == '\\';
          continue;
        }
        if (!begun && (is_json_space(c) || c == ',')) {
          keep = used + 1;
          continue;
        }
        if (depth == 0 && (c == ',' || c == ']')) {
          element_.append(text.substr(keep, used - keep));
          buffer_.skip(used + 1);
          closed_ = c == ']';
          return begun;
        }
        if (!begun) first_line = line_;
        begun = true;
        if (c == '"') in_string = true;
        if (c == '[' || c == '{') ++depth;
        if (c == ']' || c == '}') --depth;
      }
      element_.append(text.substr(keep));
      buffer_.skip(text.size());
    }
  }

  void check_rest() {
    for (std::string_view text = buffer_.available(); !text.empty(); text = buffer_.available()) {
      const auto rest = std::ranges::find_if_not(text, is_json_space);
      line_ += static_cast<uint64_t>(std::count(text.begin(), rest, '\n'));
      if (rest != text.end()) {
        core::fail(core::ErrorKind::kBadInput,
                   {.what = "text after the end of the JSON array",
                    .where = buffer_.path().string() + ":" + std::to_string(line_),
                    .got = core::excerpt({rest, text.end()})});
      }
      buffer_.skip(text.size());
    }
  }

  [[noreturn]] void fail_cut_off() {
    core::fail(core::ErrorKind::kBadInput,
               {.what = "the JSON array is cut off: no closing ]",
                .where = buffer_.path().string() + ":" + std::to_string(line_),
                .got = core::excerpt(element_.text()),
                .hint = "the file may not have been copied completely"});
  }

  TextBuffer buffer_;
  RowText element_;
  uint64_t line_;
  bool closed_ = false, ended_ = false;
};

}  // namespace

std::unique_ptr<RowReader> open_json_rows(const fs::path& path, const FileType& type) {
  TextBuffer buffer(path, type.compression);
  if (type.extension != ".json") return std::make_unique<JsonLines>(std::move(buffer));
  uint64_t line = 1;
  // White space before the first value is looked at only within the first piece.
  const std::string_view text = buffer.available();
  const auto first = std::ranges::find_if_not(text, is_json_space);
  if (first == text.end() || *first != '[') return std::make_unique<JsonLines>(std::move(buffer));
  line += static_cast<uint64_t>(std::count(text.begin(), first, '\n'));
  buffer.skip(static_cast<size_t>(first - text.begin()));
  return std::make_unique<JsonArray>(std::move(buffer), line);
}

}  // namespace hone::data
