#include "hub/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using Handle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

// A part of the URL, or "" when it has none.
std::string part(const Handle& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

struct Range4 {
  uint32_t start;
  int bits;
};

// RFC 6890 and its successors: addresses that are not of the public internet.
bool is_private_v4(uint32_t address) {
  static constexpr std::array<Range4, 12> kRanges = {{{0x00000000, 8},
                                                      {0x0A000000, 8},
                                                      {0x64400000, 10},
                                                      {0x7F000000, 8},
                                                      {0xA9FE0000, 16},
                                                      {0xAC100000, 12},
                                                      {0xC0000000, 24},
                                                      {0xC0A80000, 16},
                                                      {0xC6120000, 15},
                                                      {0xE0000000, 4},
                                                      {0xF0000000, 4},
                                                      {0xC0000200, 24}}};
  return std::any_of(kRanges.begin(), kRanges.end(), [&](const Range4& range) {
    return (address ^ range.start) >> (32 - range.bits) == 0;
  });
}

bool is_private_v6(const in6_addr& address) {
  const auto* bytes = address.s6_addr;
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  static constexpr std::array<uint8_t, 12> kTranslated = {0, 0x64, 0xFF, 0x9B};
  if (std::equal(kMapped.begin(), kMapped.end(), bytes) ||
      std::equal(kTranslated.begin(), kTranslated.end(), bytes)) {
    uint32_t inner = 0;
    std::memcpy(&inner, bytes + 12, sizeof inner);
    return is_private_v4(ntohl(inner));
  }
  const bool is_low = std::all_of(bytes, bytes + 12, [](uint8_t b) { return b == 0; });  // ::, ::1
  const bool is_unique_local = (bytes[0] & 0xFE) == 0xFC;
  const bool is_link_local = bytes[0] == 0xFE && (bytes[1] & 0x80) != 0;
  return is_low || is_unique_local || is_link_local || bytes[0] == 0xFF;
}

}  // namespace

Url parse_url(const std::string& text) {
  const Handle url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    core::fail(ErrorKind::kUsage, {.what = "not a URL",
                                   .got = "'" + shown_url(text) + "'",
                                   .expected = "https://host[:port]"});
  }
  Url parsed{.scheme = lower(part(url, CURLUPART_SCHEME)),
             .host = lower(part(url, CURLUPART_HOST)),
             .has_user_info = !part(url, CURLUPART_USER).empty()};
  if (parsed.scheme != "http" && parsed.scheme != "https") {
    core::fail(ErrorKind::kUsage, {.what = "only https is spoken",
                                   .got = "'" + shown_url(text) + "'",
                                   .expected = "https://host[:port]"});
  }
  if (parsed.host.starts_with('[') && parsed.host.ends_with(']')) {
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  }
  parsed.port = std::stoi(part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT));
  return parsed;
}

std::string resolve_url(const std::string& base, const std::string& reference) {
  const Handle url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) == CURLUE_OK &&
      curl_url_set(url.get(), CURLUPART_URL, reference.c_str(), CURLU_NON_SUPPORT_SCHEME) ==
          CURLUE_OK) {
    if (std::string whole = part(url, CURLUPART_URL); !whole.empty()) return whole;
  }
  core::fail(ErrorKind::kUnavailable, {.what = "the hub answers with an address that is none",
                                       .where = shown_url(base),
                                       .got = "'" + shown_url(reference) + "'"});
}

std::string shown_url(std::string_view text) {
  return std::string(text.substr(0, text.find_first_of("?#")));
}

bool same_origin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

bool is_loopback_host(std::string_view host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == 127;
  }
  return host == "localhost" || host == "::1";
}

bool is_private_host(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return is_private_v4(ntohl(v4.s_addr));
  const std::string without_zone = host.substr(0, host.find('%'));
  return ::inet_pton(AF_INET6, without_zone.c_str(), &v6) == 1 && is_private_v6(v6);
}

bool is_private_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_private_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    return is_private_v6(v6.sin6_addr);
  }
  return true;
}

std::string url_encode(std::string_view text, std::string_view safe) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.~-").find(c) != std::string_view::npos ||
                       safe.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

}  // namespace hone::hub
