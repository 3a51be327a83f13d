// A ScriptedServer whose every request goes to one function that fills in the answer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hub/http.h"
#include "tests/hub/scripted_server.h"

namespace hone::hub {

struct AskedFor {
  std::string method, path, body;  // path: without the query
};

struct Answer {
  int status = 200;
  Reply reply;

  void set_header(const std::string& name, const std::string& value) {
    reply.headers.emplace_back(name, value);
  }
  void set_content(const std::string& body, const std::string& type) {
    reply.body = body;
    set_header("Content-Type", type);
  }
  void set_redirect(const std::string& location, int code) {
    status = code;
    set_header("Location", location);
  }
};

class TestServer {
 public:
  explicit TestServer(std::function<void(const AskedFor&, Answer&)> handler) {
    server_.otherwise([handler](const ServedRequest& request) {
      Answer answer;
      handler({request.method, request.target.substr(0, request.target.find('?')), request.body},
              answer);
      answer.reply.status = answer.status;
      return answer.reply;
    });
  }

  std::string url(const std::string& path = "") const { return server_.url() + path; }
  std::vector<ServedRequest> seen() const { return server_.requests(); }

 private:
  ScriptedServer server_;
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
