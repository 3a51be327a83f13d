#include "data/text_buffer.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kExcerptBytes = 400;

}  // namespace

TextBuffer::TextBuffer(const fs::path& path, Compression compression)
    : path_(path),
      stream_(open_byte_stream(path, compression)),
      file_size_(fs::file_size(path)),
      bytes_(kBufferBytes) {
  while (end_ < 3) {
    const size_t got = stream_->read(bytes_.data() + end_, bytes_.size() - end_);
    if (got == 0) break;
    end_ += got;
  }
  const std::string_view start(bytes_.data(), end_);
  if (start.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) {
    core::fail(core::ErrorKind::kBadInput, {.what = "the file is UTF-16",
                                            .where = path.string(),
                                            .expected = "UTF-8",
                                            .hint = "iconv -f UTF-16 -t UTF-8"});
  }
}

std::string_view TextBuffer::available() {
  if (begin_ == end_) {
    begin_ = 0;
    end_ = stream_->read(bytes_.data(), bytes_.size());
  }
  return {bytes_.data() + begin_, end_ - begin_};
}

double TextBuffer::fraction() const {
  if (file_size_ == 0) return 1;
  return static_cast<double>(stream_->position()) / static_cast<double>(file_size_);
}

void RowText::clear() {
  // One long row must not hold its memory for the rest of the file.
  if (text_.capacity() > kBufferBytes) std::string().swap(text_);
  text_.clear();
  size_ = 0;
}

void RowText::append(std::string_view text) {
  size_ += text.size();
  if (size_ <= kMaxRowBytes) {
    text_ += text;
  } else if (text_.size() > kExcerptBytes) {
    text_.resize(kExcerptBytes);
    text_.shrink_to_fit();
  } else if (text_.size() < kExcerptBytes) {
    text_ += text.substr(0, kExcerptBytes - text_.size());
  }
}

void RowText::refuse_in(FileRow& row, const std::string& hint) const {
  row.text = text_.substr(0, kExcerptBytes);
  row.problem = {.what = "row is too long",
                 .got = core::format_bytes(static_cast<double>(size_)),
                 .expected = "at most 16 MiB",
                 .hint = hint};
}

bool read_line(TextBuffer& buffer, RowText& line) {
  line.clear();
  bool any = false;
  for (;;) {
    const std::string_view text = buffer.available();
    if (text.empty()) return any;
    any = true;
    const size_t end = text.find('\n');
    line.append(text.substr(0, end));
    buffer.skip(std::min(end, text.size() - 1) + 1);
    if (end != std::string_view::npos) return true;
  }
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    } else {
      out += "\\u00";
      out += kHex[(c >> 4) & 0xf];
      out += kHex[c & 0xf];
    }
  }
  out += '"';
}

}  // namespace hone::data
