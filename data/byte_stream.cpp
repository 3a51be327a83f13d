#include "data/byte_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

constexpr size_t kInputBytes = size_t{256} << 10;
constexpr uint64_t kCheckedAbove = uint64_t{64} << 20;
constexpr uint64_t kMaxRatio = 200;

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(const fs::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) core::fail_errno("can't read", path.string(), errno);
    ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~PlainStream() override { ::close(descriptor_); }

  size_t read(char* into, size_t size) override {
    for (;;) {
      const ssize_t got = ::read(descriptor_, into, size);
      if (got >= 0) {
        position_ += static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
      }
      if (errno != EINTR) core::fail_errno("can't read", path_.string(), errno);
    }
  }
  uint64_t position() const override { return position_; }

 private:
  fs::path path_;
  int descriptor_;
  uint64_t position_ = 0;
};

// Compressed input at hand, and what both formats refuse.
class CompressedInput {
 public:
  CompressedInput(const fs::path& path, const char* format)
      : path_(path), format_(format), file_(path), bytes_(kInputBytes) {}

  // What has not been used; empty at the end of the file.
  std::pair<const char*, size_t> available() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = file_.read(bytes_.data(), bytes_.size());
    }
    return {bytes_.data() + begin_, end_ - begin_};
  }
  void use(size_t count) { begin_ += count; }
  uint64_t used() const { return file_.position() - (end_ - begin_); }

  // Counts what came out.
  void produced(size_t count) {
    produced_ += count;
    if (produced_ <= kCheckedAbove || produced_ / kMaxRatio <= used()) return;
    core::fail(core::ErrorKind::kBadInput,
               {.what = std::string("the ") + format_ + " data decompresses to too much",
                .where = path_.string(),
                .got = core::format_bytes(static_cast<double>(produced_)) + " out of " +
                       core::format_bytes(static_cast<double>(used())),
                .expected = "at most 200 times as much",
                .hint = "if the file is meant to be so, decompress it first"});
  }
  [[noreturn]] void refuse(const std::string& what, const std::string& why = "") const {
    core::fail(core::ErrorKind::kBadInput, {.what = std::string("the ") + format_ + " data " +
                                                    what + " at byte " + std::to_string(used()),
                                            .where = path_.string(),
                                            .hint = why});
  }

 private:
  fs::path path_;
  const char* format_;
  PlainStream file_;
  std::vector<char> bytes_;
  size_t begin_ = 0, end_ = 0;
  uint64_t produced_ = 0;
};

constexpr const char* kCopyHint = "the file may not have been copied completely";

class GzipStream : public ByteStream {
 public:
  explicit GzipStream(const fs::path& path) : input_(path, "gzip") {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (::inflateInit2(&inflate_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~GzipStream() override { ::inflateEnd(&inflate_); }

  size_t read(char* into, size_t size) override {
    for (;;) {
      const auto [data, left] = input_.available();
      if (left == 0) {
        if (in_member_) input_.refuse("is cut off", kCopyHint);
        return 0;
      }
      if (!in_member_ && !begin_member(*data)) continue;
      const size_t count = step(data, left, into, size);
      if (count > 0) return count;
    }
  }
  uint64_t position() const override { return input_.used(); }

 private:
  // Between members tapes leave zeros; anything else is the next member.
  bool begin_member(char first) {
    if (num_members_ > 0 && first == '\0') {
      input_.use(1);
      return false;
    }
    if (num_members_ > 0 && first != '\x1f') input_.refuse("is followed by something else");
    ++num_members_;
    in_member_ = true;
    ::inflateReset(&inflate_);
    return true;
  }

  size_t step(const char* data, size_t left, char* into, size_t size) {
    inflate_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
    inflate_.avail_in = static_cast<uInt>(left);
    inflate_.next_out = reinterpret_cast<Bytef*>(into);
    inflate_.avail_out = static_cast<uInt>(std::min(size, kInputBytes));
    const uInt room = inflate_.avail_out;
    const int result = ::inflate(&inflate_, Z_NO_FLUSH);
    input_.use(left - inflate_.avail_in);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      input_.refuse("is damaged", inflate_.msg == nullptr ? "" : inflate_.msg);
    if (result == Z_STREAM_END) in_member_ = false;
    const size_t count = room - inflate_.avail_out;
    input_.produced(count);
    return count;
  }

  CompressedInput input_;
  z_stream inflate_{};
  bool in_member_ = false;
  int64_t num_members_ = 0;
};

class ZstdStream : public ByteStream {
 public:
  explicit ZstdStream(const fs::path& path)
      : input_(path, "zstd"), context_(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
    if (!context_) throw std::bad_alloc();
  }

  size_t read(char* into, size_t size) override {
    for (;;) {
      const auto [data, left] = input_.available();
      if (left == 0 && !more_output_) {
        if (in_frame_) input_.refuse("is cut off", kCopyHint);
        return 0;
      }
      ZSTD_inBuffer in{data, left, 0};
      ZSTD_outBuffer out{into, size, 0};
      const size_t result = ::ZSTD_decompressStream(context_.get(), &out, &in);
      if (::ZSTD_isError(result) != 0) input_.refuse("is damaged", ::ZSTD_getErrorName(result));
      input_.use(in.pos);
      in_frame_ = result != 0;
      more_output_ = in_frame_ && out.pos == out.size;
      input_.produced(out.pos);
      if (out.pos > 0) return out.pos;
      if (left == 0) more_output_ = false;
    }
  }
  uint64_t position() const override { return input_.used(); }

 private:
  CompressedInput input_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> context_;
  bool in_frame_ = false;
  bool more_output_ = false;  // the decoder may hold bytes for which there was no room
};

}  // namespace

std::unique_ptr<ByteStream> open_byte_stream(const fs::path& path, Compression compression) {
  if (compression == Compression::kGzip) return std::make_unique<GzipStream>(path);
  if (compression == Compression::kZstd) return std::make_unique<ZstdStream>(path);
  return std::make_unique<PlainStream>(path);
}

}  // namespace hone::data
