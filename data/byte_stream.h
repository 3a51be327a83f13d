// The bytes of a data file in order, decompressed on the way, in constant memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "data/file_type.h"

namespace hone::data {

class ByteStream {
 public:
  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  virtual ~ByteStream() = default;
  // Up to `size` bytes; 0 only at the end. Throws kIo, and kBadInput with path and byte for
  // compressed data that is damaged, cut off, followed by something else, or a bomb: more than 64
  // MiB out of 1/200 of that.
  virtual size_t read(char* into, size_t size) = 0;
  virtual uint64_t position() const = 0;  // bytes of the file used so far
};

// Several gzip members or zstd frames one after the other are one stream, as their tools write
// them. A zstd window over 128 MiB is refused.
std::unique_ptr<ByteStream> open_byte_stream(const std::filesystem::path& path,
                                             Compression compression);

}  // namespace hone::data
