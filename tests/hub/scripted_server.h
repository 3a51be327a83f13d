// An HTTP server on 127.0.0.1 that answers as a test says, also wrongly: it is written on sockets
// because a server library can't close without an answer, cut a body short or never end one.
// Requests are matched by the raw target, so that `refs%2Fpr%2F1` stays one segment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::hub {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct ServedRequest {
  std::string method, target, body;
  HeaderList headers;
  // The first header of that name, in any case of letters; "" when there is none.
  std::string header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

// What happens after `sent_bytes` of the body.
enum class BodyEnd {
  kWhole,    // all of it is sent
  kClose,    // the connection closes: a truncated body
  kStall,    // nothing more comes, the connection stays open
  kEndless,  // the body is repeated until the client closes
};

struct Reply {
  int status = 200;
  std::string body;
  HeaderList headers;  // a Content-Length given here replaces the true one
  BodyEnd end = BodyEnd::kWhole;
  size_t sent_bytes = 0;          // for kClose and kStall
  bool close_unanswered = false;  // closes without a byte
  std::string raw;                // when not empty, sent instead of status, headers and body

  static Reply json(std::string body, int status = 200);
  // An error as the hub sends it: X-Error-Code, X-Error-Message and a JSON body.
  static Reply error(int status, const std::string& code, const std::string& message);
  static Reply redirect(const std::string& location, int status = 302);
  static Reply closed();
  // All of `content`, or the range the request asks for with 206 (416 when there is none).
  static Reply content(const ServedRequest& request, const std::string& content,
                       HeaderList headers = {});
  Reply with(std::string name, std::string value) const;
};

class ScriptedServer {
 public:
  using Handler = std::function<Reply(const ServedRequest&)>;

  ScriptedServer();   // binds a free port and answers at once
  ~ScriptedServer();  // closes all connections, the stalled ones too
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string url() const;  // "http://127.0.0.1:PORT"
  int port() const;

  // Replies of a method and raw target, in turn; the last one repeats. A later call replaces an
  // earlier one. What is not scripted is answered 404 and listed by unexpected().
  void on(const std::string& method, const std::string& target, std::vector<Reply> replies);
  void on(const std::string& method, const std::string& target, Handler handler);
  // For what no `on` names.
  void otherwise(Handler handler);

  // In the order of their arrival.
  std::vector<ServedRequest> requests() const;
  std::vector<ServedRequest> requests(const std::string& method, const std::string& target) const;
  std::vector<std::string> unexpected() const;  // "GET /x"
  // Every byte that clients sent, headers included: where a secret must not be.
  std::string received() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone::hub
