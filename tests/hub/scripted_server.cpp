#include "tests/hub/scripted_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace hone::hub {
namespace {

constexpr int kPollMilliseconds = 50;
constexpr size_t kMaxHeadBytes = 1 << 20;

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string find_header(const HeaderList& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (same_name(key, name)) return value;
  }
  return "";
}

bool has_name(const HeaderList& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& header) { return same_name(header.first, name); });
}

// A socket that gives up when the server ends.
class Connection {
 public:
  Connection(int descriptor, const std::atomic<bool>& stopped)
      : descriptor_(descriptor), stopped_(stopped) {}

  // False when the client has closed or the server ends.
  bool receive(std::string& into) {
    while (!stopped_) {
      pollfd wait{descriptor_, POLLIN, 0};
      if (::poll(&wait, 1, kPollMilliseconds) <= 0) continue;
      char buffer[65536];
      const ssize_t n = ::recv(descriptor_, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      into.append(buffer, static_cast<size_t>(n));
      return true;
    }
    return false;
  }

  bool send(std::string_view bytes) {
    while (!bytes.empty() && !stopped_) {
      pollfd wait{descriptor_, POLLOUT, 0};
      if (::poll(&wait, 1, kPollMilliseconds) <= 0) continue;
      const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return bytes.empty();
  }

  void wait_for_close() {
    std::string ignored;
    while (receive(ignored)) ignored.clear();
  }

 private:
  int descriptor_;
  const std::atomic<bool>& stopped_;
};

ServedRequest parse_head(std::string_view head) {
  ServedRequest request;
  const size_t line_end = head.find("\r\n");
  const std::string_view line = head.substr(0, line_end);
  const size_t first = line.find(' '), second = line.rfind(' ');
  request.method = line.substr(0, first);
  if (first < second) request.target = line.substr(first + 1, second - first - 1);
  for (size_t at = line_end + 2; at < head.size();) {
    size_t end = head.find("\r\n", at);
    if (end == std::string_view::npos) end = head.size();
    const std::string_view header = head.substr(at, end - at);
    const size_t colon = header.find(':');
    if (colon != std::string_view::npos) {
      std::string_view value = header.substr(colon + 1);
      while (value.starts_with(' ')) value.remove_prefix(1);
      request.headers.emplace_back(header.substr(0, colon), value);
    }
    at = end + 2;
  }
  return request;
}

// Takes one chunked body off `bytes`, reading on as needed.
bool read_chunked(Connection& connection, std::string& bytes, std::string& body) {
  for (;;) {
    size_t line_end;
    while ((line_end = bytes.find("\r\n")) == std::string::npos) {
      if (!connection.receive(bytes)) return false;
    }
    const size_t size = std::stoul(bytes.substr(0, line_end), nullptr, 16);
    const size_t needed = line_end + 2 + size + 2;
    while (bytes.size() < needed) {
      if (!connection.receive(bytes)) return false;
    }
    body.append(bytes, line_end + 2, size);
    bytes.erase(0, needed);
    if (size == 0) return true;
  }
}

// One request off the connection; `bytes` keeps what was read beyond it. False at its end.
bool read_request(Connection& connection, std::string& bytes, ServedRequest& request) {
  size_t head_end;
  while ((head_end = bytes.find("\r\n\r\n")) == std::string::npos) {
    if (bytes.size() > kMaxHeadBytes || !connection.receive(bytes)) return false;
  }
  request = parse_head(std::string_view(bytes).substr(0, head_end));
  bytes.erase(0, head_end + 4);
  if (request.has_header("Expect") && !connection.send("HTTP/1.1 100 Continue\r\n\r\n")) {
    return false;
  }
  if (request.header("Transfer-Encoding") == "chunked") {
    return read_chunked(connection, bytes, request.body);
  }
  const std::string length = request.header("Content-Length");
  const size_t size = length.empty() ? 0 : std::stoul(length);
  while (bytes.size() < size) {
    if (!connection.receive(bytes)) return false;
  }
  request.body = bytes.substr(0, size);
  bytes.erase(0, size);
  return true;
}

// Whether the connection may serve another request.
bool write_reply(Connection& connection, const ServedRequest& request, const Reply& reply) {
  if (reply.close_unanswered) return false;
  if (!reply.raw.empty()) {
    connection.send(reply.raw);
    return false;
  }
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " Scripted\r\n";
  for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
  const bool has_length = has_name(reply.headers, "Content-Length");
  if (reply.end == BodyEnd::kEndless) {
    head += "Connection: close\r\n";
  } else if (!has_length && reply.status != 204 && reply.status != 304) {
    head += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  if (!connection.send(head + "\r\n")) return false;
  if (request.method == "HEAD") return true;
  const std::string_view body = reply.body;
  switch (reply.end) {
    case BodyEnd::kWhole:
      return connection.send(body);
    case BodyEnd::kClose:
      connection.send(body.substr(0, reply.sent_bytes));
      return false;
    case BodyEnd::kStall:
      connection.send(body.substr(0, reply.sent_bytes));
      connection.wait_for_close();
      return false;
    case BodyEnd::kEndless:
      while (connection.send(body)) continue;
      return false;
  }
  return false;
}

}  // namespace

std::string ServedRequest::header(std::string_view name) const {
  return find_header(headers, name);
}

bool ServedRequest::has_header(std::string_view name) const { return has_name(headers, name); }

Reply Reply::json(std::string body, int status) {
  return {.status = status,
          .body = std::move(body),
          .headers = {{"Content-Type", "application/json; charset=utf-8"}}};
}

Reply Reply::error(int status, const std::string& code, const std::string& message) {
  Reply reply = json("{\"error\":\"" + message + "\"}", status);
  if (!code.empty()) reply.headers.emplace_back("X-Error-Code", code);
  reply.headers.emplace_back("X-Error-Message", message);
  return reply;
}

Reply Reply::redirect(const std::string& location, int status) {
  return {.status = status, .headers = {{"Location", location}}};
}

Reply Reply::closed() { return {.close_unanswered = true}; }

Reply Reply::content(const ServedRequest& request, const std::string& content, HeaderList headers) {
  Reply reply{.body = content, .headers = std::move(headers)};
  const std::string range = request.header("Range");
  if (!range.starts_with("bytes=")) return reply;
  const size_t dash = range.find('-');
  const size_t first = std::stoul(range.substr(6, dash - 6));
  if (first >= content.size()) return error(416, "", "range");
  const std::string last_text = range.substr(dash + 1);
  const size_t last =
      last_text.empty() ? content.size() - 1 : std::min(std::stoul(last_text), content.size() - 1);
  reply.status = 206;
  reply.body = content.substr(first, last - first + 1);
  reply.headers.emplace_back("Content-Range", "bytes " + std::to_string(first) + "-" +
                                                  std::to_string(last) + "/" +
                                                  std::to_string(content.size()));
  return reply;
}

Reply Reply::with(std::string name, std::string value) const {
  Reply copy = *this;
  copy.headers.emplace_back(std::move(name), std::move(value));
  return copy;
}

struct ScriptedServer::State {
  int listener = -1;
  int port = 0;
  std::atomic<bool> stopped = false;
  std::thread acceptor;
  std::list<std::thread> workers;  // touched by the acceptor only, until it has ended

  mutable std::mutex mutex;  // of what follows
  std::map<std::pair<std::string, std::string>, Handler> handlers;
  Handler fallback;
  std::vector<ServedRequest> requests;
  std::vector<std::string> unexpected;

  Reply answer(const ServedRequest& request) {
    Handler handler;
    {
      const std::lock_guard lock(mutex);
      requests.push_back(request);
      const auto found = handlers.find({request.method, request.target});
      handler = found != handlers.end() ? found->second : fallback;
      if (!handler) unexpected.push_back(request.method + " " + request.target);
    }
    return handler ? handler(request) : Reply::error(404, "", "not in the script");
  }

  void serve(int descriptor) {
    Connection connection(descriptor, stopped);
    std::string bytes;
    ServedRequest request;
    while (read_request(connection, bytes, request)) {
      const bool goes_on = write_reply(connection, request, answer(request));
      if (!goes_on || same_name(request.header("Connection"), "close")) break;
    }
    ::close(descriptor);
  }

  void accept_all() {
    while (!stopped) {
      pollfd wait{listener, POLLIN, 0};
      if (::poll(&wait, 1, kPollMilliseconds) <= 0) continue;
      const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (descriptor < 0) continue;
      const int on = 1;
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      workers.emplace_back([this, descriptor] { serve(descriptor); });
    }
  }
};

ScriptedServer::ScriptedServer() : state_(std::make_unique<State>()) {
  state_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  if (state_->listener < 0 || ::bind(state_->listener, generic, length) != 0 ||
      ::listen(state_->listener, 64) != 0 ||
      ::getsockname(state_->listener, generic, &length) != 0) {
    throw std::runtime_error("scripted server: can't listen");
  }
  state_->port = ntohs(address.sin_port);
  // Waits for the thread: a test that forks has then none that is just being made.
  std::promise<void> started;
  state_->acceptor = std::thread([state = state_.get(), &started] {
    started.set_value();
    state->accept_all();
  });
  started.get_future().wait();
}

ScriptedServer::~ScriptedServer() {
  state_->stopped = true;
  state_->acceptor.join();
  for (std::thread& worker : state_->workers) worker.join();
  ::close(state_->listener);
}

std::string ScriptedServer::url() const { return "http://127.0.0.1:" + std::to_string(port()); }

int ScriptedServer::port() const { return state_->port; }

void ScriptedServer::on(const std::string& method, const std::string& target,
                        std::vector<Reply> replies) {
  if (replies.empty()) throw std::invalid_argument("scripted server: no reply for " + target);
  auto next = std::make_shared<std::atomic<size_t>>(0);
  on(method, target, [replies = std::move(replies), next](const ServedRequest&) {
    return replies[std::min(next->fetch_add(1), replies.size() - 1)];
  });
}

void ScriptedServer::on(const std::string& method, const std::string& target, Handler handler) {
  const std::lock_guard lock(state_->mutex);
  state_->handlers[{method, target}] = std::move(handler);
}

void ScriptedServer::otherwise(Handler handler) {
  const std::lock_guard lock(state_->mutex);
  state_->fallback = std::move(handler);
}

std::vector<ServedRequest> ScriptedServer::requests() const {
  const std::lock_guard lock(state_->mutex);
  return state_->requests;
}

std::vector<ServedRequest> ScriptedServer::requests(const std::string& method,
                                                    const std::string& target) const {
  std::vector<ServedRequest> found;
  for (ServedRequest& request : requests()) {
    if (request.method == method && request.target == target) found.push_back(std::move(request));
  }
  return found;
}

std::vector<std::string> ScriptedServer::unexpected() const {
  const std::lock_guard lock(state_->mutex);
  return state_->unexpected;
}

std::string ScriptedServer::received() const {
  std::string all;
  for (const ServedRequest& request : requests()) {
    all += request.method + " " + request.target + "\n";
    for (const auto& [name, value] : request.headers) all += name + ": " + value + "\n";
    all += "\n" + request.body + "\n";
  }
  return all;
}

}  // namespace hone::hub
