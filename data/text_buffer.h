// Reading text piece by piece: what the readers of rows have in common.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_stream.h"
#include "data/row_reader.h"

namespace hone::data {

class TextBuffer {
 public:
  // Skips a UTF-8 byte order mark; throws kBadInput for UTF-16.
  TextBuffer(const std::filesystem::path& path, Compression compression);
  // What is at hand, read on when that is nothing; empty at the end.
  std::string_view available();
  void skip(size_t count) { begin_ += count; }
  double fraction() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<ByteStream> stream_;
  uint64_t file_size_;
  std::vector<char> bytes_;
  size_t begin_ = 0, end_ = 0;
};

// Text of a row as it grows: beyond the limit only its length is kept, so that a line of any length
// costs no memory.
class RowText {
 public:
  void clear();
  void append(std::string_view text);
  void append(char c) { append(std::string_view(&c, 1)); }
  // Of text that was too long itself: that much more, unseen.
  void append_length(uint64_t size) { size_ += size; }
  bool is_too_long() const { return size_ > kMaxRowBytes; }
  uint64_t size() const { return size_; }
  std::string& text() { return text_; }
  // Fills `row` with the problem of a row that is too long.
  void refuse_in(FileRow& row, const std::string& hint = "") const;

 private:
  std::string text_;
  uint64_t size_ = 0;
};

// Up to and without the next line feed; false at the end of the file.
bool read_line(TextBuffer& buffer, RowText& line);

// Appends `text` as a JSON string. It has to be UTF-8.
void append_json_string(std::string& out, std::string_view text);

inline bool is_json_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace hone::data
