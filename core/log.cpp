#include "core/log.h"

#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <mutex>

namespace hone::core {
namespace {

constexpr std::string_view kHidden = "<redacted>";

class RedactingSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    const std::string line = redact(std::string_view(buffer.data(), buffer.size()));
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
  void flush_() override { std::fflush(stderr); }
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

bool starts_with_folded(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  return std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
    return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
  });
}

size_t run_of(std::string_view text, size_t from, bool (*accept)(char)) {
  size_t end = from;
  while (end < text.size() && accept(text[end])) ++end;
  return end;
}

bool ends_url(char c) {
  return c <= ' ' || c == '"' || c == '\'' || c == '<' || c == '>' || c == ')';
}

// Names of query parameters that let their holder in.
bool is_secret_parameter(std::string_view name) {
  static constexpr std::string_view kParts[] = {"sig",    "token",  "credential", "key",
                                                "policy", "secret", "auth"};
  for (size_t i = 0; i < name.size(); ++i) {
    for (const std::string_view part : kParts) {
      if (starts_with_folded(name.substr(i), part)) return true;
    }
  }
  return false;
}

// `url` starts after "://".
std::string redact_url(std::string_view url) {
  std::string out;
  const size_t authority_end = std::min(url.find_first_of("/?#"), url.size());
  const size_t at = url.substr(0, authority_end).rfind('@');
  if (at != std::string_view::npos) {
    out += kHidden;
    url.remove_prefix(at);
  }
  const size_t query = std::min(url.find('?'), url.size());
  out += url.substr(0, query);
  url.remove_prefix(query);
  while (!url.empty()) {  // url starts with '?' or '&'
    const size_t next = std::min(url.find('&', 1), url.size());
    const std::string_view part = url.substr(0, next);
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos && is_secret_parameter(part.substr(1, equals - 1))) {
      out += part.substr(0, equals + 1);
      out += kHidden;
    } else {
      out += part;
    }
    url.remove_prefix(next);
  }
  return out;
}

// The end of a secret that starts at `i`, with the text to print instead in `shown`; `i` if there
// is none.
size_t secret_at(std::string_view text, size_t i, std::string& shown) {
  constexpr size_t kShortestToken = 16;
  const std::string_view rest = text.substr(i);
  const bool word_start = i == 0 || !is_word(text[i - 1]);
  if (word_start && rest.starts_with("hf_")) {
    const size_t end = run_of(text, i + 3, is_word);
    if (end - i - 3 < kShortestToken) return i;
    shown = "hf_" + std::string(kHidden);
    return end;
  }
  if (rest.starts_with("://")) {
    const size_t end = run_of(text, i + 3, [](char c) { return !ends_url(c); });
    shown = "://" + redact_url(text.substr(i + 3, end - i - 3));
    return end;
  }
  for (const std::string_view name :
       {std::string_view("authorization"), std::string_view("bearer ")}) {
    if (!word_start || !starts_with_folded(rest, name)) continue;
    size_t value = run_of(text, i + name.size(),
                          [](char c) { return c == ' ' || c == ':' || c == '=' || c == '"'; });
    const std::string_view between = text.substr(i + name.size(), value - i - name.size());
    if (name.back() != ' ' && between.find_first_of(":=") == std::string_view::npos) return i;
    for (const std::string_view scheme :
         {std::string_view("bearer "), std::string_view("basic ")}) {
      if (starts_with_folded(text.substr(value), scheme)) value += scheme.size();
    }
    const size_t end = run_of(text, value, [](char c) { return c > ' ' && c != '"' && c != '\''; });
    if (end == value) return i;
    shown = std::string(text.substr(i, value - i)) + std::string(kHidden);
    return end;
  }
  return i;
}

}  // namespace

void set_up_log(int rank, bool verbose) {
  auto logger = std::make_shared<spdlog::logger>("hone", std::make_shared<RedactingSink>());
  const std::string prefix = rank > 0 ? "[rank " + std::to_string(rank) + "] " : "";
  logger->set_pattern("[%H:%M:%S] [%l] " + prefix + "%v");
  logger->set_level(rank > 0  ? spdlog::level::warn
                    : verbose ? spdlog::level::debug
                              : spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

std::string redact(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    std::string shown;
    const size_t end = secret_at(text, i, shown);
    if (end == i) {
      out += text[i++];
    } else {
      out += shown;
      i = end;
    }
  }
  return out;
}

}  // namespace hone::core
