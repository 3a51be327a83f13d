// An HTTP server on a free port of 127.0.0.1 for the tests of hub/, stopped when it goes out of
// scope. It remembers every request.
#pragma once

#include <httplib.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "hub/http.h"

namespace hone::hub {

struct SeenRequest {
  std::string method, target;  // target: path and query as sent
  httplib::Headers headers;
  std::string body;

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

class TestServer {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  // Every request goes to `handler`. HEAD requests too, as method "HEAD".
  explicit TestServer(Handler handler) : handler_(std::move(handler)) {
    server_.set_tcp_nodelay(true);
    server_.set_keep_alive_max_count(1000);
    server_.set_keep_alive_timeout(1);
    server_.set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          // Bodies are read by routing only; requests that may have one go there.
          if (request.method != "GET" && request.method != "HEAD") {
            return httplib::Server::HandlerResponse::Unhandled;
          }
          answer(request, response);
          return httplib::Server::HandlerResponse::Handled;
        });
    const auto routed = [this](const httplib::Request& request, httplib::Response& response) {
      answer(request, response);
    };
    server_.Post(".*", routed);
    server_.Put(".*", routed);
    server_.Patch(".*", routed);
    server_.Delete(".*", routed);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // stop() before that does nothing
  }
  ~TestServer() {
    server_.stop();
    thread_.join();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  int port() const { return port_; }
  std::string url(const std::string& path = "") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  std::vector<SeenRequest> seen() const {
    const std::scoped_lock lock(mutex_);
    return seen_;
  }

 private:
  void answer(const httplib::Request& request, httplib::Response& response) {
    {
      const std::scoped_lock lock(mutex_);
      seen_.push_back({request.method, request.target, request.headers, request.body});
    }
    handler_(request, response);
  }

  Handler handler_;
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
};

// A client of `endpoint` whose pauses are noted in `pauses` (when given) instead of waited for.
inline HttpClient test_client(const std::string& endpoint, const std::string& token = "",
                              std::vector<std::chrono::milliseconds>* pauses = nullptr) {
  const auto mutex = std::make_shared<std::mutex>();
  return HttpClient({.endpoint = endpoint,
                     .token = token,
                     .sleep = [pauses, mutex](std::chrono::milliseconds duration) {
                       const std::scoped_lock lock(*mutex);
                       if (pauses != nullptr) pauses->push_back(duration);
                     }});
}

}  // namespace hone::hub
