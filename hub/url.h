// URLs taken apart, percent-encoding, and which addresses count as private.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

namespace hone::hub {

struct Url {
  std::string scheme;  // lower case
  std::string host;    // lower case; an IPv6 address without its brackets
  int port = 0;        // the scheme's own when none is written
  bool has_user_info = false;
};

// Throws kUsage for text that is no absolute http or https URL.
Url parse_url(const std::string& text);
// `reference` (absolute or relative, as in a Location or Link header) seen from `base`. Throws
// kUnavailable when it is no URL.
std::string resolve_url(const std::string& base, const std::string& reference);
// `text` without query and fragment: what a message may show of it.
std::string shown_url(std::string_view text);

// Same scheme, host and port: the only place a token may be sent to.
bool same_origin(const Url& a, const Url& b);
// "localhost", 127.0.0.0/8 or ::1.
bool is_loopback_host(std::string_view host);
// An address literal that is loopback, private, link-local, shared, multicast or reserved; IPv4
// inside IPv6 counts as IPv4. False for a name.
bool is_private_host(const std::string& host);
bool is_private_address(const sockaddr& address);

// Percent-encodes all but [A-Za-z0-9_.~-] and the characters of `safe`, as Python's quote does.
std::string url_encode(std::string_view text, std::string_view safe = "");

}  // namespace hone::hub
