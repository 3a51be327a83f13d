// Builds GGUF files piece by piece, good or broken.
#pragma once

#include <string>
#include <vector>

#include "tests/formats/support.h"

namespace hone::formats {

inline std::string gguf_string(const std::string& text) {
  return raw<uint64_t>(text.size()) + text;
}

struct GgufBuilder {
  std::string keys, tensors, data;
  uint64_t num_keys = 0, num_tensors = 0;
  uint32_t version = 3;

  GgufBuilder& key(const std::string& name, uint32_t type, const std::string& value) {
    keys += gguf_string(name) + raw(type) + value;
    ++num_keys;
    return *this;
  }
  GgufBuilder& text(const std::string& name, const std::string& value) {
    return key(name, 8, gguf_string(value));
  }
  GgufBuilder& number(const std::string& name, uint32_t value) { return key(name, 4, raw(value)); }
  GgufBuilder& real(const std::string& name, float value) { return key(name, 6, raw(value)); }
  GgufBuilder& texts(const std::string& name, const std::vector<std::string>& values) {
    std::string all = raw<uint32_t>(8) + raw<uint64_t>(values.size());
    for (const std::string& value : values) all += gguf_string(value);
    return key(name, 9, all);
  }
  // `dimensions` fastest first, as in the file.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& dimensions,
                      uint32_t type, uint64_t offset) {
    tensors += gguf_string(name) + raw(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t d : dimensions) tensors += raw(d);
    tensors += raw(type) + raw(offset);
    ++num_tensors;
    return *this;
  }
  // A float32 tensor of ones with its data.
  GgufBuilder& ones(const std::string& name, const std::vector<uint64_t>& dimensions) {
    tensor(name, dimensions, 0, data.size());
    uint64_t numel = 1;
    for (const uint64_t d : dimensions) numel *= d;
    for (uint64_t i = 0; i < numel; ++i) data += raw(1.0f);
    data.resize((data.size() + 31) / 32 * 32);
    return *this;
  }
  std::string build(uint64_t alignment = 32) const {
    std::string file = "GGUF" + raw(version) + raw(num_tensors) + raw(num_keys) + keys + tensors;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data;
  }
};

}  // namespace hone::formats
