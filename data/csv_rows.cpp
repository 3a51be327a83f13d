#include <algorithm>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/file_readers.h"
#include "data/text_buffer.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

struct Cell {
  std::string text;
  bool quoted = false;
};

// One record of RFC 4180, whose line ends may also be a lone CR or LF; quotes inside a cell that
// does not begin with one stand for themselves.
class CsvRecords {
 public:
  CsvRecords(TextBuffer buffer, char separator)
      : buffer_(std::move(buffer)), separator_(separator) {}

  // False at the end. `problem` is set for a record that breaks the rules; its cells are void.
  bool next(std::vector<Cell>& cells, uint64_t& line, core::ErrorDetail& problem) {
    cells_ = &cells;
    do {
      begin_record();
      line = line_;
      if (!scan()) return false;
    } while (cells.size() == 1 && cells[0].text.empty() && !cells[0].quoted);
    problem = {};
    if (raw_.is_too_long()) {
      FileRow row;
      raw_.refuse_in(row, "is a quote never closed?");
      problem = row.problem;
    } else if (text_after_quote_) {
      problem = {.what = "text after a closing quote",
                 .hint = "a quote inside a quoted cell is written twice"};
    } else if (state_ == State::kQuoted) {
      problem = {.what = "a quote is never closed"};
    } else if (!core::is_valid_utf8(raw_.text())) {
      problem = {.what = "text is not valid UTF-8"};
    }
    return true;
  }
  const std::string& raw() { return raw_.text(); }
  const TextBuffer& buffer() const { return buffer_; }

 private:
  enum class State { kStart, kPlain, kQuoted, kAfterQuote };

  void begin_record() {
    raw_.clear();
    cells_->clear();
    cells_->emplace_back();
    state_ = State::kStart;
    text_after_quote_ = false;
  }

  // Up to the end of the record; false if there is none.
  bool scan() {
    bool any = false;
    for (;;) {
      const std::string_view text = buffer_.available();
      if (text.empty()) return any;
      if (after_return_ && text[0] == '\n') {
        after_return_ = false;
        buffer_.skip(1);
        continue;
      }
      after_return_ = false;
      any = true;
      size_t used = 0;
      bool ended = false;
      while (used < text.size() && !ended) {
        const size_t run = run_length(text.substr(used));
        if (run > 0) {
          take(text.substr(used, run));
          used += run;
        } else {
          ended = take_special(text[used++]);
        }
      }
      raw_.append(text.substr(0, used - (ended ? 1 : 0)));
      buffer_.skip(used);
      if (ended) return true;
    }
  }

  // How many characters at the front mean only themselves.
  size_t run_length(std::string_view text) const {
    if (state_ == State::kQuoted) return std::min(text.find_first_of("\"\n"), text.size());
    if (state_ != State::kPlain) return 0;
    const char special[] = {separator_, '\n', '\r'};
    return std::min(text.find_first_of(std::string_view(special, 3)), text.size());
  }

  void take(std::string_view text) {
    if (!raw_.is_too_long() && cells_->back().text.size() <= kMaxRowBytes)
      cells_->back().text += text;
  }

  bool take_special(char c) {
    if (state_ == State::kQuoted) {
      if (c == '"') {
        state_ = State::kAfterQuote;
      } else {
        line_ += c == '\n' ? 1 : 0;
        take({&c, 1});
      }
      return false;
    }
    if (c == '\n' || c == '\r') {
      ++line_;
      after_return_ = c == '\r';
      return true;
    }
    if (c == separator_) {
      if (!raw_.is_too_long() && cells_->size() <= kMaxCells) cells_->emplace_back();
      state_ = State::kStart;
    } else if (c == '"' && state_ == State::kStart) {
      cells_->back().quoted = true;
      state_ = State::kQuoted;
    } else if (c == '"' && state_ == State::kAfterQuote) {
      take({&c, 1});
      state_ = State::kQuoted;
    } else {
      text_after_quote_ = text_after_quote_ || state_ == State::kAfterQuote;
      take({&c, 1});
      state_ = State::kPlain;
    }
    return false;
  }

  static constexpr size_t kMaxCells = 100000;

  TextBuffer buffer_;
  char separator_;
  std::vector<Cell>* cells_ = nullptr;
  RowText raw_;
  State state_ = State::kStart;
  uint64_t line_ = 1;
  bool after_return_ = false, text_after_quote_ = false;
};

class CsvRows : public RowReader {
 public:
  CsvRows(CsvRecords records, std::vector<std::string> json_columns)
      : records_(std::move(records)) {
    core::ErrorDetail problem;
    uint64_t line = 1;
    if (!records_.next(cells_, line, problem)) return;
    problem.where = records_.buffer().path().string() + ":" + std::to_string(line);
    if (!problem.what.empty()) core::fail(core::ErrorKind::kBadInput, problem);
    std::set<std::string> seen;
    for (size_t i = 0; i < cells_.size(); ++i) {
      std::string name = cells_[i].text;
      if (name.empty()) name = "Unnamed: " + std::to_string(i);  // what pandas calls it
      if (!seen.insert(name).second) {
        core::fail(core::ErrorKind::kBadInput, {.what = "the header names a column twice",
                                                .where = problem.where,
                                                .got = "\"" + name + "\""});
      }
      is_json_.push_back(std::ranges::find(json_columns, name) != json_columns.end());
      keys_.emplace_back();
      append_json_string(keys_.back(), name);
    }
  }

  bool next(FileRow& row) override {
    if (keys_.empty() || !records_.next(cells_, row.line, row.problem)) return false;
    if (row.problem.what.empty() && cells_.size() != keys_.size()) {
      row.problem = {.what = "wrong number of cells",
                     .got = std::to_string(cells_.size()),
                     .expected = std::to_string(keys_.size()) + ", as in the header"};
    }
    row.text.clear();
    if (!row.problem.what.empty()) {
      row.text = records_.raw().substr(0, 400);
      return true;
    }
    for (size_t i = 0; i < keys_.size(); ++i) {
      row.text += i == 0 ? '{' : ',';
      row.text += keys_[i] + ":";
      append_cell(cells_[i], is_json_[i], row.text);
    }
    row.text += '}';
    return true;
  }
  double fraction() const override { return records_.buffer().fraction(); }

 private:
  static void append_cell(const Cell& cell, bool may_be_json, std::string& out) {
    if (cell.text.empty() && !cell.quoted) {
      out += "null";
    } else if (may_be_json && core::Json::accept(cell.text)) {
      out += cell.text;
    } else {
      append_json_string(out, cell.text);
    }
  }

  CsvRecords records_;
  std::vector<Cell> cells_;
  std::vector<std::string> keys_;
  std::vector<bool> is_json_;
};

}  // namespace

std::unique_ptr<RowReader> open_csv_rows(const fs::path& path, const FileType& type,
                                         std::vector<std::string> json_columns) {
  CsvRecords records(TextBuffer(path, type.compression), type.extension == ".tsv" ? '\t' : ',');
  return std::make_unique<CsvRows>(std::move(records), std::move(json_columns));
}

}  // namespace hone::data
