#include "hub/http_transfer.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <exception>

#include "core/error.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

constexpr uint64_t kMaxHeaderBytes = 1 << 20;

bool has_header(const std::vector<Header>& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(), [&](const Header& header) {
    return header.first.size() == name.size() &&
           ::strncasecmp(header.first.data(), name.data(), name.size()) == 0;
  });
}

bool is_head(const std::string& method) { return method == "HEAD"; }

// What the callbacks of one transfer share. No exception may pass through libcurl: the first is
// kept.
struct Exchange {
  const Hop& hop;
  const HttpRequest& request;
  HttpResponse& response;
  int descriptor = -1;   // of a body that is a file
  uint64_t body_at = 0;  // bytes of the body sent
  uint64_t header_bytes = 0;
  uint64_t delivered = 0;  // bytes the sink took
  bool refused_address = false, head_told = false, stalled = false;
  curl_off_t moved = 0;  // bytes sent and received
  std::chrono::steady_clock::time_point last_move = std::chrono::steady_clock::now();
  std::exception_ptr failure;

  ~Exchange() {
    if (descriptor >= 0) ::close(descriptor);
  }

  template <typename Body>
  bool guarded(Body body) {
    try {
      body();
      return true;
    } catch (...) {
      failure = std::current_exception();
      return false;
    }
  }
};

size_t on_header(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  HttpResponse& response = exchange.response;
  exchange.header_bytes += size;
  if (exchange.header_bytes > kMaxHeaderBytes) return 0;
  std::string_view line(data, size);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // also after "100 Continue"
    response.headers.clear();
    const size_t space = line.find(' ');
    response.status =
        space == std::string_view::npos ? 0 : std::atoi(std::string(line.substr(space)).c_str());
    return size;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  response.headers.emplace_back(line.substr(0, colon), value);
  return size;
}

size_t on_body(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view bytes(data, size);
  const bool good = exchange.guarded([&] {
    HttpResponse& response = exchange.response;
    if (exchange.request.sink && response.ok()) {
      if (!exchange.head_told && exchange.request.on_head) exchange.request.on_head(response);
      exchange.head_told = true;
      exchange.request.sink(bytes);
      exchange.delivered += size;
      return;
    }
    if (response.body.size() + size > exchange.request.max_body) {
      core::fail(ErrorKind::kUnavailable,
                 {.what = "the answer is larger than " + std::to_string(exchange.request.max_body) +
                          " bytes",
                  .where = shown_url(exchange.hop.url)});
    }
    response.body.append(bytes);
  });
  return good ? size : 0;
}

size_t on_read(char* data, size_t one, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const auto& range = std::get<FileRange>(exchange.request.body);
  const uint64_t wanted = std::min<uint64_t>(one * count, range.size - exchange.body_at);
  size_t got = 0;
  const bool good = exchange.guarded([&] {
    if (wanted == 0) return;
    const ssize_t n = ::pread(exchange.descriptor, data, wanted,
                              static_cast<off_t>(range.offset + exchange.body_at));
    if (n < 0) core::fail_errno("can't read", range.path.string(), errno);
    if (n == 0) {
      core::fail(ErrorKind::kIo, {.what = "the file became shorter while it was sent",
                                  .where = range.path.string()});
    }
    got = static_cast<size_t>(n);
    exchange.body_at += got;
    if (exchange.request.on_sent) exchange.request.on_sent(exchange.body_at);
  });
  return good ? got : CURL_READFUNC_ABORT;
}

int on_seek(void* user, curl_off_t offset, int origin) {
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Exchange*>(user)->body_at = static_cast<uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

// libcurl's own limit is an average over seconds: this one is the silence itself.
int on_progress(void* user, curl_off_t, curl_off_t received, curl_off_t, curl_off_t sent) {
  auto& exchange = *static_cast<Exchange*>(user);
  const auto now = std::chrono::steady_clock::now();
  if (received + sent != exchange.moved) {
    exchange.moved = received + sent;
    exchange.last_move = now;
  }
  exchange.stalled = now - exchange.last_move > exchange.hop.stall_timeout;
  const bool is_cancelled = exchange.request.is_cancelled && exchange.request.is_cancelled();
  return exchange.stalled || is_cancelled ? 1 : 0;
}

// The name was looked up by now: a public name may stand for a private address.
curl_socket_t on_open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (!exchange.hop.allow_private && is_private_address(address->addr)) {
    exchange.refused_address = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool has_proxy() {
  for (const char* name : {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

void set_certificates(CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  for (const char* name : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    curl_easy_setopt(curl, CURLOPT_CAINFO, value);
    return;
  }
}

void set_body(CURL* curl, Exchange& exchange) {
  const std::string& method = exchange.hop.method;
  if (is_head(method)) {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    return;
  }
  const auto* range = std::get_if<FileRange>(&exchange.request.body);
  if (exchange.hop.sends_body && range != nullptr) {
    exchange.descriptor = ::open(range->path.c_str(), O_RDONLY | O_CLOEXEC);
    if (exchange.descriptor < 0) core::fail_errno("can't open", range->path.string(), errno);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(range->size));
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, &exchange);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, &exchange);
  } else if (exchange.hop.sends_body && method != "GET") {
    const auto& text = std::get<std::string>(exchange.request.body);
    if (!text.empty() || method != "DELETE") {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text.c_str());
    }
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
}

using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

HeaderList header_list(const std::vector<Header>& headers) {
  curl_slist* list = nullptr;
  const auto add = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(list, line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    list = longer;
  };
  for (const auto& [name, value] : headers) {
    std::string line = name;
    add(value.empty() ? line.append(";") : line.append(": ").append(value));
  }
  add("Expect:");  // no wait for "100 Continue"
  if (!has_header(headers, "content-type")) add("Content-Type:");
  return {list, curl_slist_free_all};
}

void set_connection(CURL* curl, Exchange& exchange) {
  const Hop& hop = exchange.hop;
  curl_easy_setopt(curl, CURLOPT_URL, hop.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(hop.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  // On a connection used before, libcurl itself sends again what was not answered.
  curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, exchange.request.retry ? 0L : 1L);
  // Bytes as stored; should a server compress all the same, libcurl undoes it.
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "identity");
  set_certificates(curl);
  if (!hop.use_proxy) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  // Behind a proxy the address connected to is the proxy's, which may well be private.
  if (!hop.use_proxy || !has_proxy()) {
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &exchange);
  }
}

void set_callbacks(CURL* curl, Exchange& exchange) {
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
}

}  // namespace

uint64_t transfer(CURL* curl, const Hop& hop, const HttpRequest& request, HttpResponse& response) {
  Exchange exchange{.hop = hop, .request = request, .response = response};
  curl_easy_reset(curl);  // connections stay
  set_connection(curl, exchange);
  set_callbacks(curl, exchange);
  set_body(curl, exchange);
  const HeaderList headers = header_list(hop.headers);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  char message[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);

  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  if (exchange.failure) std::rethrow_exception(exchange.failure);
  if (exchange.refused_address) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "refused: the address leads into a private network",
                .where = shown_url(hop.url),
                .hint = "only the endpoint's own host may have a private address"});
  }
  if (exchange.stalled) {
    response.error = "silent for " + std::to_string(hop.stall_timeout.count()) + " s";
  } else if (code != CURLE_OK) {
    response.error = *message != '\0' ? message : curl_easy_strerror(code);
  }
  if (code == CURLE_OK && request.sink && response.ok() && !exchange.head_told && request.on_head) {
    request.on_head(response);  // an empty body
  }
  spdlog::debug("{} {} -> {}{}", hop.method, shown_url(hop.url), response.status,
                response.error.empty() ? "" : " (" + response.error + ")");
  return exchange.delivered;
}

}  // namespace hone::hub
