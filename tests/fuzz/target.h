// What every fuzz target is: a function that feeds bytes to one reader and checks what comes back.
// Whatever leaves it as an exception is a finding, as is a sanitizer's report or a time-out.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>

#include "core/error.h"

namespace hone::fuzz {

void fuzz_safetensors(std::string_view input);
void fuzz_gguf(std::string_view input);
void fuzz_yaml(std::string_view input);
void fuzz_jsonl(std::string_view input);
void fuzz_rows(std::string_view input);
void fuzz_config(std::string_view input);
void fuzz_index(std::string_view input);
void fuzz_tokenizer(std::string_view input);
void fuzz_template(std::string_view input);
void fuzz_cluster(std::string_view input);

struct Target {
  const char* name;
  void (*run)(std::string_view input);
};
inline constexpr Target kTargets[] = {
    {"safetensors", fuzz_safetensors},
    {"gguf", fuzz_gguf},
    {"yaml", fuzz_yaml},
    {"jsonl", fuzz_jsonl},
    {"rows", fuzz_rows},
    {"config", fuzz_config},
    {"index", fuzz_index},
    {"tokenizer", fuzz_tokenizer},
    {"template", fuzz_template},
    {"cluster", fuzz_cluster},
};

// The name of a test with this parameter, alike in every build.
inline void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

// Throws std::logic_error("finding: ...") unless `holds`.
void require(bool holds, const std::string& what);

// True if `read` took its input; false if it refused with an Error of one of `kinds` whose message
// is fit for a terminal: not empty, valid UTF-8, at most 64 KiB, no control characters but line
// breaks. Every other exception goes on.
bool accepts(const std::function<void()>& read,
             std::initializer_list<core::ErrorKind> kinds = {core::ErrorKind::kBadInput});

// A folder in memory for readers that want files; one a process, emptied by the caller.
const std::filesystem::path& scratch_folder();
// Plain write: durability would only cost time here.
std::filesystem::path write_scratch(const std::string& name, std::string_view bytes);

}  // namespace hone::fuzz
