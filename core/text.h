// Small text helpers used by messages and tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone::core {

// The candidate nearest to `word` by edit distance, or "" when none is near enough to suggest.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
// At most `max_chars` characters of one line: control characters escaped, UTF-8 not cut inside a
// character, "…" if cut.
std::string excerpt(std::string_view text, size_t max_chars = 80);
std::string format_bytes(double bytes);       // "1.2 GB"
std::string format_count(uint64_t count);     // "1,024"
std::string format_duration(double seconds);  // "4 min 10 s"
bool is_valid_utf8(std::string_view text);
// Of UTF-8: this byte is not the first of its character.
inline bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace hone::core
