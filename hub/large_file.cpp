#include "hub/large_file.h"

#include <algorithm>
#include <charconv>

namespace hone::hub {
namespace {

constexpr std::string_view kVersionLine = "version https://git-lfs.github.com/spec/v1\n";
constexpr std::string_view kOidStart = "oid sha256:";
constexpr std::string_view kSizeStart = "size ";
constexpr std::string_view kAttribute = " filter=lfs diff=lfs merge=lfs -text";

constexpr std::string_view kLargeTypes[] = {
    "7z",          "arrow",   "bin",     "bz2",    "ckpt",    "ftz", "gguf", "gz",
    "h5",          "joblib",  "mlmodel", "model",  "msgpack", "npy", "npz",  "onnx",
    "ot",          "parquet", "pb",      "pickle", "pkl",     "pt",  "pth",  "rar",
    "safetensors", "tar",     "tflite",  "tgz",    "wasm",    "xz",  "zip",  "zst"};

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

// A path as a .gitattributes pattern that matches it alone: anchored, glob characters and spaces
// escaped.
std::string exact_pattern(std::string_view path) {
  std::string pattern = "/";
  for (const char c : path) {
    if (c == ' ') {
      pattern += "[[:space:]]";
      continue;
    }
    if (c == '*' || c == '?' || c == '[' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

bool has_line(std::string_view text, std::string_view line) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end) == line) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

std::string type_pattern(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string() : "*" + std::string(name.substr(dot));
}

bool is_covered(std::string_view path, std::string_view attributes) {
  const std::string type = type_pattern(path);
  return has_line(attributes, exact_pattern(path) + std::string(kAttribute)) ||
         (!type.empty() && has_line(attributes, type + std::string(kAttribute)));
}

}  // namespace

std::string pointer_text(const LargePointer& pointer) {
  return std::string(kVersionLine) + std::string(kOidStart) + pointer.sha256 + "\n" +
         std::string(kSizeStart) + std::to_string(pointer.size) + "\n";
}

std::optional<LargePointer> parse_pointer(std::string_view text) {
  if (text.size() > kMaxPointerBytes || !take(text, kVersionLine) || !take(text, kOidStart))
    return {};
  LargePointer pointer;
  pointer.sha256 = std::string(text.substr(0, 64));
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (pointer.sha256.size() != 64 ||
      !std::all_of(pointer.sha256.begin(), pointer.sha256.end(), is_hex)) {
    return {};
  }
  text.remove_prefix(64);
  if (!take(text, "\n") || !take(text, kSizeStart)) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pointer.size);
  if (error != std::errc() || std::string_view(end, text.data() + text.size() - end) != "\n")
    return {};
  return pointer;
}

std::string default_attributes() {
  std::string text;
  for (const std::string_view type : kLargeTypes) {
    text += "*." + std::string(type) + std::string(kAttribute) + "\n";
  }
  return text;
}

bool is_large(std::string_view path, uint64_t size, std::string_view attributes) {
  if (size == 0) return false;
  // git reads .gitattributes before any filter runs, so it can't itself be behind one.
  if (path == ".gitattributes") return false;
  return size > kLargeFileBytes || is_covered(path, attributes);
}

std::string with_attribute(std::string attributes, std::string_view path) {
  if (is_covered(path, attributes)) return attributes;
  if (!attributes.empty() && attributes.back() != '\n') attributes += '\n';
  return attributes + exact_pattern(path) + std::string(kAttribute) + "\n";
}

}  // namespace hone::hub
