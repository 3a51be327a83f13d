// The wire format of protocol buffers, as far as a writer of few messages needs it
// (https://protobuf.dev/programming-guides/encoding).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hone::formats {

// A message under construction: each call appends one field. Fields of proto3 that hold their
// default may be left out by the caller; here they are written as given.
class ProtobufMessage {
 public:
  ProtobufMessage& integer(uint32_t field, int64_t value);  // int32, int64, bool, enum
  ProtobufMessage& float64(uint32_t field, double value);
  ProtobufMessage& float32(uint32_t field, float value);
  ProtobufMessage& bytes(uint32_t field, std::string_view value);  // string, bytes
  ProtobufMessage& message(uint32_t field, const ProtobufMessage& value);
  const std::string& encoded() const { return encoded_; }

 private:
  void key(uint32_t field, uint32_t wire_type);
  void varint(uint64_t value);
  void fixed(uint64_t bits, int num_bytes);

  std::string encoded_;
};

}  // namespace hone::formats
