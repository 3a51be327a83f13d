#include <algorithm>

#include "core/text.h"
#include "data/file_readers.h"
#include "data/text_buffer.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

bool is_blank(std::string_view text) { return std::ranges::all_of(text, is_json_space); }

class TextRows : public RowReader {
 public:
  TextRows(TextBuffer buffer, SampleBy sample_by)
      : buffer_(std::move(buffer)), sample_by_(sample_by) {}

  bool next(FileRow& row) override {
    while (read_sample(row.line)) {
      row.problem = {};
      if (sample_.is_too_long()) {
        sample_.refuse_in(row, sample_by_ == SampleBy::kDocument ? "sample_by: paragraph" : "");
        return true;
      }
      const std::string_view text = sample_.text();
      if (is_blank(text)) continue;
      row.text = text.substr(0, 400);
      if (!core::is_valid_utf8(text)) {
        row.problem = {.what = "text is not valid UTF-8"};
        return true;
      }
      row.text = "{\"text\":";
      append_json_string(row.text, text);
      row.text += '}';
      return true;
    }
    return false;
  }
  double fraction() const override { return buffer_.fraction(); }

 private:
  bool read_sample(uint64_t& first_line) {
    sample_.clear();
    first_line = number_ + 1;
    bool any = false;
    while (read_line(buffer_, line_)) {
      ++number_;
      if (!line_.is_too_long() && line_.text().ends_with('\r')) line_.text().pop_back();
      const bool blank = !line_.is_too_long() && line_.text().empty();
      if (sample_by_ == SampleBy::kParagraph && blank) {
        if (any) return true;
        first_line = number_ + 1;
        continue;
      }
      if (any) sample_.append('\n');
      any = true;
      sample_.append(line_.text());
      if (line_.is_too_long()) sample_.append_length(line_.size());
      if (sample_by_ == SampleBy::kLine) return true;
    }
    return any;
  }

  TextBuffer buffer_;
  SampleBy sample_by_;
  RowText line_, sample_;
  uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_text_rows(const fs::path& path, const FileType& type,
                                          SampleBy sample_by) {
  return std::make_unique<TextRows>(TextBuffer(path, type.compression), sample_by);
}

}  // namespace hone::data
