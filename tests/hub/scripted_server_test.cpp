// The server the other tests lean on: a test is only as true as its answers.
#include "tests/hub/scripted_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hone::hub {
namespace {

// All the server sends on one connection until it closes, or until `enough` bytes came.
std::string send_bytes(const ScriptedServer& server, const std::string& sent,
                       size_t enough = SIZE_MAX) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::send(descriptor, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
  std::string received;
  char buffer[4096];
  while (received.size() < enough) {
    const ssize_t n = ::recv(descriptor, buffer, sizeof buffer, 0);
    if (n <= 0) break;
    received.append(buffer, static_cast<size_t>(n));
  }
  ::close(descriptor);
  return received;
}

TEST(ScriptedServer, RepliesInTurnOnOneConnectionAndKeepsWhatWasSent) {
  ScriptedServer server;
  server.on("POST", "/a%2Fb?x=1", {Reply::json("[1]", 503), Reply::json("[2]")});
  const std::string first =
      "HTTP/1.1 503 Scripted\r\nContent-Type: application/json; "
      "charset=utf-8\r\nContent-Length: 3\r\n\r\n[1]";
  const std::string second =
      "HTTP/1.1 200 Scripted\r\nContent-Type: application/json; "
      "charset=utf-8\r\nContent-Length: 3\r\n\r\n[2]";
  const std::string post = "POST /a%2Fb?x=1 HTTP/1.1\r\nX-Key: v\r\nContent-Length: 2\r\n\r\nhi";
  const std::string chunked =
      "POST /a%2Fb?x=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  EXPECT_EQ(send_bytes(server, post + chunked, first.size() + second.size()), first + second);
  const auto requests = server.requests("POST", "/a%2Fb?x=1");
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].body, "hi");
  EXPECT_EQ(requests[0].header("x-key"), "v");
  EXPECT_EQ(requests[1].body, "abc");
  EXPECT_TRUE(server.unexpected().empty());
  EXPECT_NE(server.received().find("X-Key: v"), std::string::npos);
}

TEST(ScriptedServer, MisbehavesAsAsked) {
  ScriptedServer server;
  server.on("GET", "/cut", {{.body = "0123456789", .end = BodyEnd::kClose, .sent_bytes = 4}});
  server.on("GET", "/stall", {{.body = "0123456789", .end = BodyEnd::kStall, .sent_bytes = 4}});
  server.on("GET", "/endless", {{.body = "abc", .end = BodyEnd::kEndless}});
  server.on("GET", "/closed", {Reply::closed()});
  server.on("GET", "/raw", {{.raw = "nonsense"}});
  const std::string cut = send_bytes(server, "GET /cut HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(cut.ends_with("Content-Length: 10\r\n\r\n0123")) << cut;
  EXPECT_TRUE(send_bytes(server, "GET /stall HTTP/1.1\r\n\r\n", cut.size()).ends_with("\n0123"));
  EXPECT_GE(send_bytes(server, "GET /endless HTTP/1.1\r\n\r\n", 1 << 20).size(), size_t{1} << 20);
  EXPECT_EQ(send_bytes(server, "GET /closed HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(send_bytes(server, "GET /raw HTTP/1.1\r\n\r\n"), "nonsense");
  send_bytes(server, "GET /other HTTP/1.1\r\n\r\n", 12);
  EXPECT_EQ(server.unexpected(), std::vector<std::string>{"GET /other"});
}

TEST(ScriptedServer, AnswersRangesAndHeads) {
  ScriptedServer server;
  const auto serve = [](const ServedRequest& request) {
    return Reply::content(request, "0123456789", {{"ETag", "\"e\""}});
  };
  server.on("GET", "/f", serve);
  server.on("HEAD", "/f", serve);
  const auto answer = [&](const std::string& method, const std::string& header) {
    return send_bytes(server, method + " /f HTTP/1.1\r\nConnection: close\r\n" + header + "\r\n");
  };
  const std::string range = answer("GET", "Range: bytes=2-4\r\n");
  EXPECT_TRUE(range.starts_with("HTTP/1.1 206")) << range;
  EXPECT_TRUE(range.ends_with("\r\n\r\n234")) << range;
  EXPECT_NE(range.find("Content-Range: bytes 2-4/10"), std::string::npos);
  EXPECT_TRUE(answer("GET", "Range: bytes=8-\r\n").ends_with("\n89"));
  EXPECT_TRUE(answer("GET", "Range: bytes=10-\r\n").starts_with("HTTP/1.1 416"));
  const std::string head = answer("HEAD", "");
  EXPECT_TRUE(head.ends_with("Content-Length: 10\r\n\r\n")) << head;
}

}  // namespace
}  // namespace hone::hub
