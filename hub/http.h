// HTTP as a hub needs it, over libcurl. Rules that hold for every request:
//   - https only; http, and private or link-local addresses, only for the host of the endpoint
//     itself, and http only when that is a loopback address. Certificates are always verified.
//   - redirects are followed by hand, at most 5; the token goes to the endpoint's exact origin
//   only,
//     other credentials to the origin they were given for.
//   - 408, 429, 500, 502, 503, 504 and network failures are tried again up to 5 times, after 1 s
//     doubling to 8 s, or as long as RateLimit or Retry-After say.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone::hub {

using Header = std::pair<std::string, std::string>;

struct HttpResponse {
  int status = 0;               // 0: no answer came
  std::vector<Header> headers;  // of the last hop, in order
  std::string body;             // empty when it went to a sink
  std::string url;              // of the last hop
  std::string error;            // why the transfer broke; "" when the answer is whole

  bool ok() const { return error.empty() && status >= 200 && status < 300; }
  // The first header of that name, case ignored.
  std::optional<std::string> header(std::string_view name) const;
};

// Bytes [offset, offset + size) of a file, streamed.
struct FileRange {
  std::filesystem::path path;
  uint64_t offset = 0, size = 0;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<Header> headers;
  std::variant<std::string, FileRange> body;
  bool send_token = true;           // to the endpoint's origin; false for presigned addresses
  bool follow_to_others = true;     // false: a redirect to another origin is the answer
  bool retry = true;                // false for what must not be done twice
  std::chrono::seconds stall{0};    // longest silence; 0: the client's
  uint64_t max_body = 64ull << 20;  // a larger body without a sink is an error
  // With a sink, the body of a 2xx answer goes there piece by piece, after one call of on_head.
  // Both may throw. A request with a sink is not tried again once bytes have arrived.
  std::function<void(const HttpResponse& head)> on_head;
  std::function<void(std::string_view bytes)> sink;
  std::function<void(uint64_t sent)> on_sent;  // bytes of a FileRange that have gone in this try
  std::function<bool()> is_cancelled;  // asked at least once a second; true breaks the transfer off
};

struct HttpConfig {
  std::string endpoint;    // "https://host[:port][/path]", without a '/' at the end
  std::string token;       // "" for none
  std::string user_agent;  // default: this program and its version
  std::chrono::seconds connect_timeout{10}, stall_timeout{10};
  int max_retries = 5;
  bool offline = false;                                  // every request is refused
  std::function<void(std::chrono::milliseconds)> sleep;  // default: this thread sleeps
};

// HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_ETAG_TIMEOUT, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, and the token
// (hub/token.h). Throws kUsage for an endpoint that can't be spoken to (http beyond loopback, not a
// URL).
HttpConfig http_config(const std::string& endpoint);

// Safe to use from several threads; connections are kept and used again.
class HttpClient {
 public:
  explicit HttpClient(HttpConfig config);  // throws kUsage as http_config does
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;

  const HttpConfig& config() const;
  const std::string& endpoint() const { return config().endpoint; }

  // The answer, whatever its status, after redirects and retries. Throws kUnavailable when none
  // came (naming the address and the reason) or a redirect was refused.
  HttpResponse send(const HttpRequest& request) const;
  // One try. A network failure is told in `error`; a refused redirect throws.
  HttpResponse send_once(const HttpRequest& request) const;
  void sleep(std::chrono::milliseconds duration) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether another try may help.
bool is_retryable(const HttpResponse& response);
// The pause before try `attempt` + 1 (attempt 1 is the first), or nothing when the server asks for
// more than 5 minutes.
std::optional<std::chrono::milliseconds> retry_delay(int attempt, const HttpResponse& response);
// The address of `rel` in a Link header ("next"), seen from the answer's own, or "".
std::string link_of(const HttpResponse& response, std::string_view rel);

}  // namespace hone::hub
