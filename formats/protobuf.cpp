#include "formats/protobuf.h"

#include <bit>

namespace hone::formats {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

}  // namespace

void ProtobufMessage::varint(uint64_t value) {
  while (value >= 0x80) {
    encoded_ += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  encoded_ += static_cast<char>(value);
}

void ProtobufMessage::key(uint32_t field, uint32_t wire_type) { varint(field << 3 | wire_type); }

void ProtobufMessage::fixed(uint64_t bits, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) encoded_ += static_cast<char>(bits >> (8 * i));
}

ProtobufMessage& ProtobufMessage::integer(uint32_t field, int64_t value) {
  key(field, kVarint);
  varint(static_cast<uint64_t>(value));
  return *this;
}

ProtobufMessage& ProtobufMessage::float64(uint32_t field, double value) {
  key(field, kFixed64);
  fixed(std::bit_cast<uint64_t>(value), 8);
  return *this;
}

ProtobufMessage& ProtobufMessage::float32(uint32_t field, float value) {
  key(field, kFixed32);
  fixed(std::bit_cast<uint32_t>(value), 4);
  return *this;
}

ProtobufMessage& ProtobufMessage::bytes(uint32_t field, std::string_view value) {
  key(field, kLengthDelimited);
  varint(value.size());
  encoded_ += value;
  return *this;
}

ProtobufMessage& ProtobufMessage::message(uint32_t field, const ProtobufMessage& value) {
  return bytes(field, value.encoded());
}

}  // namespace hone::formats
