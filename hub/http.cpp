#include "hub/http.h"

#include <curl/curl.h>
#include <spdlog/spdlog.h>
#include <strings.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "hub/http_transfer.h"
#include "hub/token.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxRedirects = 5;
constexpr seconds kLongestWait{310};

void ensure_curl() {
  static const bool done = [] { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; }();
  if (!done) core::fail(ErrorKind::kInternal, {.what = "libcurl can't start"});
}

bool is_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Headers that let their holder in: they never follow a redirect to another origin.
bool is_credential(std::string_view name) {
  return is_name(name, "authorization") || is_name(name, "cookie") ||
         is_name(name, "proxy-authorization");
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

void check_header(const Header& header) {
  const auto bad = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
  if (std::none_of(header.second.begin(), header.second.end(), bad) &&
      std::none_of(header.first.begin(), header.first.end(), bad)) {
    return;
  }
  core::fail(ErrorKind::kBadInput, {.what = "a header holds a line break", .where = header.first});
}

[[noreturn]] void refuse(const std::string& url, const std::string& why, bool is_first) {
  core::fail(
      ErrorKind::kUnavailable,
      {.what = (is_first ? "refused: " : "redirect refused: ") + why, .where = shown_url(url)});
}

seconds seconds_of(const char* name, seconds fallback) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return fallback;
  const int number = std::atoi(value);
  return number > 0 ? seconds(number) : fallback;
}

// Digits at the start of `text`, or nothing.
std::optional<int64_t> leading_number(std::string_view text) {
  int64_t number = 0;
  size_t n = 0;
  while (n < text.size() && n < 9 && text[n] >= '0' && text[n] <= '9') {
    number = number * 10 + (text[n++] - '0');
  }
  return n == 0 ? std::nullopt : std::optional<int64_t>(number);
}

// What the server asks for: RateLimit: "api";r=0;t=55, or Retry-After as seconds or as a date.
std::optional<seconds> asked_wait(const HttpResponse& response) {
  if (const auto limit = response.header("ratelimit"); limit && response.status == 429) {
    const size_t at = limit->find(";t=");
    const auto reset = at == std::string::npos
                           ? std::nullopt
                           : leading_number(std::string_view(*limit).substr(at + 3));
    if (reset) return seconds(*reset + 1);
  }
  const auto after = response.header("retry-after");
  if (!after) return std::nullopt;
  if (const auto number = leading_number(*after)) return seconds(*number);
  const time_t date = curl_getdate(after->c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return seconds(std::max<int64_t>(0, date - std::time(nullptr)));
}

}  // namespace

std::optional<std::string> HttpResponse::header(std::string_view name) const {
  for (const Header& header : headers) {
    if (is_name(header.first, name)) return header.second;
  }
  return std::nullopt;
}

HttpConfig http_config(const std::string& endpoint) {
  HttpConfig config{.endpoint = endpoint, .token = find_token(), .offline = is_offline()};
  config.stall_timeout = seconds_of("HF_HUB_DOWNLOAD_TIMEOUT", config.stall_timeout);
  config.connect_timeout = seconds_of("HF_HUB_ETAG_TIMEOUT", config.connect_timeout);
  return config;
}

struct HttpClient::State {
  HttpConfig config;
  Url endpoint;
  std::mutex mutex;
  std::vector<CurlHandle> idle;  // handles keep their connections

  CurlHandle take() {
    const std::scoped_lock lock(mutex);
    if (idle.empty()) return {curl_easy_init(), curl_easy_cleanup};
    CurlHandle handle = std::move(idle.back());
    idle.pop_back();
    return handle;
  }
  void give_back(CurlHandle handle) {
    const std::scoped_lock lock(mutex);
    idle.push_back(std::move(handle));
  }

  bool is_own_host(const Url& url) const { return url.host == endpoint.host; }
  void check(const std::string& text, const Url& url, bool is_first) const;
  Hop hop_for(const HttpRequest& request, const std::string& method, const std::string& url,
              const Url& parsed, bool credentials) const;
};

void HttpClient::State::check(const std::string& text, const Url& url, bool is_first) const {
  if (url.has_user_info) refuse(text, "an address with a user name", is_first);
  const bool own_loopback = is_own_host(url) && is_loopback_host(endpoint.host);
  if (url.scheme == "http" && !own_loopback) refuse(text, "only https is spoken", is_first);
  if (!is_own_host(url) && (is_private_host(url.host) || url.host == "localhost")) {
    refuse(text, "the address leads into a private network", is_first);
  }
}

Hop HttpClient::State::hop_for(const HttpRequest& request, const std::string& method,
                               const std::string& url, const Url& parsed, bool credentials) const {
  Hop hop{.method = method,
          .url = url,
          .sends_body = method == request.method,
          .allow_private = is_own_host(parsed),
          .use_proxy = !is_loopback_host(parsed.host),
          .connect_timeout = config.connect_timeout,
          .stall_timeout = request.stall.count() > 0 ? request.stall : config.stall_timeout};
  bool has_authorization = false;
  for (const Header& header : request.headers) {
    check_header(header);
    if (is_credential(header.first) && !credentials) continue;
    if (!hop.sends_body && is_name(header.first, "content-type")) continue;
    has_authorization = has_authorization || is_name(header.first, "authorization");
    hop.headers.push_back(header);
  }
  if (request.send_token && !has_authorization && !config.token.empty() &&
      same_origin(parsed, endpoint)) {
    hop.headers.emplace_back("Authorization", "Bearer " + config.token);
  }
  hop.headers.emplace_back("User-Agent", config.user_agent);
  return hop;
}

HttpClient::HttpClient(HttpConfig config) : state_(std::make_unique<State>()) {
  ensure_curl();
  while (config.endpoint.ends_with('/')) config.endpoint.pop_back();
  if (config.user_agent.empty()) config.user_agent = "hone/" HONE_VERSION;
  if (!config.sleep) {
    config.sleep = [](milliseconds duration) { std::this_thread::sleep_for(duration); };
  }
  state_->endpoint = parse_url(config.endpoint);
  if (state_->endpoint.has_user_info ||
      (state_->endpoint.scheme == "http" && !is_loopback_host(state_->endpoint.host))) {
    core::fail(ErrorKind::kUsage, {.what = "this endpoint is not spoken to",
                                   .where = shown_url(config.endpoint),
                                   .expected = "https://host[:port] (http on this machine only), "
                                               "without user name"});
  }
  state_->config = std::move(config);
}

HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;

const HttpConfig& HttpClient::config() const { return state_->config; }
void HttpClient::sleep(milliseconds duration) const { state_->config.sleep(duration); }

HttpResponse HttpClient::send_once(const HttpRequest& request) const {
  if (state_->config.offline) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: no hub is asked",
                .where = shown_url(request.url)});
  }
  const Url first = parse_url(request.url);
  std::string method = request.method, url = request.url;
  Url at = first;
  for (int hop = 0;; ++hop) {
    state_->check(url, at, hop == 0);
    HttpResponse response;
    response.url = url;
    CurlHandle handle = state_->take();
    if (!handle) throw std::bad_alloc();
    transfer(handle.get(), state_->hop_for(request, method, url, at, same_origin(at, first)),
             request, response);
    state_->give_back(std::move(handle));
    const auto location = response.header("location");
    if (!response.error.empty() || !is_redirect(response.status) || !location) return response;
    const std::string next = resolve_url(url, *location);
    Url there;
    try {
      there = parse_url(next);
    } catch (const core::Error& error) {
      refuse(next, error.detail().what, false);
    }
    if (!request.follow_to_others && !same_origin(there, first)) return response;
    if (hop == kMaxRedirects) refuse(next, "more than 5 redirects in a row", false);
    const bool asks_get = response.status <= 303 && method != "GET" && method != "HEAD";
    if (asks_get) method = "GET";
    url = next;
    at = there;
  }
}

HttpResponse HttpClient::send(const HttpRequest& request) const {
  bool arrived = false;
  HttpRequest watched = request;
  if (request.sink) {
    watched.sink = [&](std::string_view bytes) {
      arrived = true;
      request.sink(bytes);
    };
  }
  for (int attempt = 1;; ++attempt) {
    HttpResponse response = send_once(watched);
    const bool is_last = !request.retry || arrived || attempt > state_->config.max_retries;
    const auto delay = is_retryable(response) ? retry_delay(attempt, response) : std::nullopt;
    if (!is_last && delay) {
      spdlog::info(
          "{}: {}; trying again in {} s", shown_url(request.url),
          response.error.empty() ? "answer " + std::to_string(response.status) : response.error,
          delay->count() / 1000);
      sleep(*delay);
      continue;
    }
    if (!response.error.empty()) {
      core::fail(ErrorKind::kUnavailable, {.what = "the hub can't be reached: " + response.error,
                                           .where = shown_url(response.url),
                                           .hint = "tried " + std::to_string(attempt) +
                                                   (attempt == 1 ? " time" : " times")});
    }
    return response;
  }
}

bool is_retryable(const HttpResponse& response) {
  const int s = response.status;
  return !response.error.empty() || s == 408 || s == 429 || s == 500 || s == 502 || s == 503 ||
         s == 504;
}

std::optional<milliseconds> retry_delay(int attempt, const HttpResponse& response) {
  if (const auto asked = response.error.empty() ? asked_wait(response) : std::nullopt) {
    if (*asked > kLongestWait) return std::nullopt;
    return *asked;
  }
  return seconds(1 << std::min(attempt - 1, 3));
}

std::string link_of(const HttpResponse& response, std::string_view rel) {
  for (const Header& header : response.headers) {
    if (!is_name(header.first, "link")) continue;
    std::string_view text = header.second;
    while (true) {
      const size_t open = text.find('<'), close = text.find('>');
      if (open == std::string_view::npos || close == std::string_view::npos || close < open) break;
      const size_t next = text.find('<', close);
      const std::string_view parameters = text.substr(close, next - close);
      const std::string name(rel);
      if (parameters.find("rel=\"" + name + "\"") != std::string_view::npos ||
          parameters.find("rel=" + name) != std::string_view::npos) {
        return resolve_url(response.url, std::string(text.substr(open + 1, close - open - 1)));
      }
      if (next == std::string_view::npos) break;
      text.remove_prefix(next);
    }
  }
  return "";
}

}  // namespace hone::hub
