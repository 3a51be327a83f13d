#include "hub/http.h"

#include "hub/hub_error.h"
#include "hub/token.h"
#include "hub/url.h"
#include "tests/hub/support.h"
#include "tests/hub/test_server.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using std::chrono::milliseconds;

const std::string kToken = "hf_abcdefghijklmnopqrstuvwx";

TEST(Http, SendsMethodHeadersAndBodyAndReadsHeadersWhateverTheirCase) {
  TestServer server([](const auto& request, auto& response) {
    response.status = 201;
    response.set_header("X-Repo-Commit", "abc");
    response.set_content("got " + request.body, "text/plain");
  });
  const HttpClient client = test_client(server.url());
  for (const std::string method : {"POST", "PUT", "PATCH", "DELETE"}) {
    const HttpResponse answer = client.send({.method = method,
                                             .url = server.url("/a%2Fb?x=1"),
                                             .headers = {{"X-Own", "1"}},
                                             .body = "body of " + method});
    EXPECT_EQ(answer.status, 201);
    EXPECT_EQ(answer.body, "got body of " + method);
    EXPECT_EQ(answer.header("x-repo-COMMIT"), "abc");
    EXPECT_FALSE(answer.header("absent"));
    const ServedRequest seen = server.seen().back();
    EXPECT_EQ(seen.method, method);
    EXPECT_EQ(seen.target, "/a%2Fb?x=1");
    EXPECT_EQ(seen.header("x-own"), "1");
    EXPECT_EQ(seen.header("accept-encoding"), "identity");
    EXPECT_TRUE(seen.header("user-agent").starts_with("hone/")) << seen.header("user-agent");
    EXPECT_EQ(seen.header("content-type"), "");
    EXPECT_EQ(seen.header("expect"), "");
  }
}

TEST(Http, StreamsARangeOfAFile) {
  TemporaryFolder folder;
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += static_cast<char>('a' + i % 23);
  write_text(folder / "file", content);
  TestServer server([](const auto&, auto& response) { response.set_content("ok", "text/plain"); });
  const HttpClient client = test_client(server.url());
  const HttpResponse answer =
      client.send({.method = "PUT",
                   .url = server.url("/part"),
                   .body = FileRange{.path = folder / "file", .offset = 1000, .size = 200'000}});
  EXPECT_TRUE(answer.ok());
  ASSERT_EQ(server.seen().size(), 1);
  EXPECT_EQ(server.seen()[0].header("content-length"), "200000");
  EXPECT_TRUE(server.seen()[0].body == content.substr(1000, 200'000));
  const core::Error error = error_of([&] {
    client.send({.method = "PUT",
                 .url = server.url("/part"),
                 .body = FileRange{.path = folder / "file", .offset = 299'000, .size = 2000}});
  });
  EXPECT_EQ(error.kind(), ErrorKind::kIo) << "a file cut short while it is sent";
}

TEST(Http, ASinkGetsTheBodyOfASuccessOnly) {
  TestServer server([](const auto& request, auto& response) {
    response.status = request.path == "/good" ? 206 : 404;
    response.set_content("the body", "text/plain");
  });
  const HttpClient client = test_client(server.url());
  std::string got;
  int heads = 0;
  HttpRequest request{.url = server.url("/good"),
                      .on_head = [&](const HttpResponse& head) { heads += head.status; },
                      .sink = [&](std::string_view bytes) { got += bytes; }};
  EXPECT_EQ(client.send(request).body, "");
  EXPECT_EQ(got, "the body");
  EXPECT_EQ(heads, 206);
  request.url = server.url("/bad");
  EXPECT_EQ(client.send(request).body, "the body");
  EXPECT_EQ(got, "the body");
}

TEST(Http, WhatASinkThrowsComesOut) {
  TestServer server([](const auto&, auto& response) { response.set_content("x", "text/plain"); });
  const core::Error error = error_of([&] {
    test_client(server.url()).send({.url = server.url(), .sink = [](std::string_view) {
                                      core::fail(ErrorKind::kIo, {.what = "disk full"});
                                    }});
  });
  EXPECT_EQ(error.kind(), ErrorKind::kIo);
}

TEST(Http, ABodyOverTheLimitIsNotKept) {
  TestServer server([](const auto&, auto& response) {
    response.set_content(std::string(5000, 'x'), "text/plain");
  });
  const core::Error error =
      error_of([&] { test_client(server.url()).send({.url = server.url(), .max_body = 4000}); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
}

TEST(HttpRetry, WaitsOneSecondDoublingToEightThenGivesTheAnswer) {
  TestServer server([](const auto&, auto& response) { response.status = 503; });
  std::vector<milliseconds> pauses;
  const HttpClient client = test_client(server.url(), "", &pauses);
  EXPECT_EQ(client.send({.url = server.url()}).status, 503);
  EXPECT_EQ(server.seen().size(), 6);
  EXPECT_EQ(pauses,
            (std::vector<milliseconds>{milliseconds(1000), milliseconds(2000), milliseconds(4000),
                                       milliseconds(8000), milliseconds(8000)}));
}

TEST(HttpRetry, GoesOnAfterTheFirstSuccess) {
  for (const int status : {408, 429, 500, 502, 503, 504}) {
    std::atomic<int> tries = 0;
    TestServer server(
        [&](const auto&, auto& response) { response.status = ++tries <= 3 ? status : 200; });
    EXPECT_EQ(test_client(server.url()).send({.url = server.url()}).status, 200) << status;
    EXPECT_EQ(tries, 4) << status;
  }
}

TEST(HttpRetry, LeavesRefusalsAndUnrepeatableRequestsAlone) {
  TestServer server([](const auto& request, auto& response) {
    response.status = request.path == "/once" ? 500 : 404;
  });
  const HttpClient client = test_client(server.url());
  EXPECT_EQ(client.send({.url = server.url("/missing")}).status, 404);
  EXPECT_EQ(client.send({.method = "POST", .url = server.url("/once"), .retry = false}).status,
            500);
  EXPECT_EQ(server.seen().size(), 2);
}

TEST(HttpRetry, ObeysRateLimitAndRetryAfter) {
  std::atomic<int> tries = 0;
  TestServer server([&](const auto&, auto& response) {
    switch (++tries) {
      case 1:
        response.status = 429;
        response.set_header("RateLimit", "\"api\";r=0;t=55");
        response.set_header("Retry-After", "9");
        return;
      case 2:
        response.status = 503;
        response.set_header("Retry-After", "7");
        return;
      case 3:
        response.status = 429;
        response.set_header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT");
        return;
      default:
        return;
    }
  });
  std::vector<milliseconds> pauses;
  EXPECT_TRUE(test_client(server.url(), "", &pauses).send({.url = server.url()}).ok());
  EXPECT_EQ(pauses,
            (std::vector<milliseconds>{milliseconds(56'000), milliseconds(7000), milliseconds(0)}));
}

TEST(HttpRetry, GivesUpWhenAskedToWaitForHours) {
  TestServer server([&](const auto&, auto& response) {
    response.status = 429;
    response.set_header("Retry-After", "7200");
  });
  const HttpClient client = test_client(server.url());
  const HttpResponse answer = client.send({.url = server.url()});
  EXPECT_EQ(server.seen().size(), 1);
  const core::Error error = error_of([&] { fail_response(answer, {.id = "o/n"}, client); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_NE(std::string(error.what()).find("7200"), std::string::npos) << error.what();
}

TEST(HttpRetry, ADeadHostIsTriedSixTimesThenNamed) {
  std::string dead;
  {
    TestServer server([](const auto&, auto&) {});
    dead = server.url();
  }
  std::vector<milliseconds> pauses;
  const core::Error error =
      error_of([&] { test_client(dead, "", &pauses).send({.url = dead + "/api?sig=secret"}); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(pauses.size(), 5);
  EXPECT_NE(std::string(error.what()).find(dead + "/api"), std::string::npos);
  EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
}

TEST(HttpRedirect, TheTokenStaysWithItsOrigin) {
  TestServer other([](const auto&, auto& response) { response.set_content("far", "text/plain"); });
  TestServer server([&](const auto& request, auto& response) {
    if (request.path == "/far") response.set_redirect(other.url("/there?signature=s"), 302);
    if (request.path == "/near") response.set_redirect("/here", 307);
  });
  const HttpClient client = test_client(server.url(), kToken);
  EXPECT_EQ(client.send({.url = server.url("/far"), .headers = {{"Cookie", "c"}}}).body, "far");
  EXPECT_EQ(server.seen()[0].header("authorization"), "Bearer " + kToken);
  EXPECT_EQ(server.seen()[0].header("cookie"), "c");
  EXPECT_EQ(other.seen()[0].header("authorization"), "");
  EXPECT_EQ(other.seen()[0].header("cookie"), "");
  client.send({.url = server.url("/near")});
  EXPECT_EQ(server.seen().back().target, "/here");
  EXPECT_EQ(server.seen().back().header("authorization"), "Bearer " + kToken);
  client.send({.url = server.url("/x"), .send_token = false});
  EXPECT_EQ(server.seen().back().header("authorization"), "");
  client.send({.url = other.url("/direct")});
  EXPECT_EQ(other.seen().back().header("authorization"), "");
}

TEST(HttpRedirect, AtMostFive) {
  TestServer server([](const auto& request, auto& response) {
    const int n = std::stoi(request.path.substr(1));
    if (n > 0) response.set_redirect("/" + std::to_string(n - 1), 302);
  });
  const HttpClient client = test_client(server.url());
  EXPECT_TRUE(client.send({.url = server.url("/5")}).ok());
  EXPECT_EQ(error_of([&] { client.send({.url = server.url("/6")}); }).kind(),
            ErrorKind::kUnavailable);
}

TEST(HttpRedirect, PrivatePlacesPlainHttpAndOtherProtocolsAreRefused) {
  std::string target;
  TestServer server([&](const auto&, auto& response) { response.set_redirect(target, 302); });
  const HttpClient client = test_client(server.url(), kToken);
  for (const std::string bad :
       {"http://169.254.169.254/latest/meta-data", "https://169.254.169.254/",
        "http://example.com/", "https://10.0.0.1/", "https://192.168.1.1/", "https://[::1]/",
        "https://[fd00::1]/", "https://[::ffff:127.0.0.1]/", "http://localhost:1/",
        "https://localhost:1/", "https://user:pass@example.com/", "file:///etc/passwd",
        "ftp://127.0.0.1/x", "https://0x7f000002/", "https://2130706434/"}) {
    target = bad;
    const core::Error error = error_of([&] { client.send({.url = server.url()}); });
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable) << bad;
    EXPECT_NE(std::string(error.what()).find("refused"), std::string::npos) << error.what();
  }
  EXPECT_EQ(server.seen().size(), 15) << "a refusal is not tried again";
}

TEST(HttpRedirect, CanBeTheAnswerWhenItLeavesTheOrigin) {
  TestServer server([](const auto& request, auto& response) {
    response.set_header("X-Linked-Etag", "\"abc\"");
    response.set_redirect(request.path == "/old" ? "/new" : "https://cdn.example.com/x", 302);
  });
  const HttpResponse answer =
      test_client(server.url())
          .send({.method = "HEAD", .url = server.url("/old"), .follow_to_others = false});
  EXPECT_EQ(answer.status, 302);
  EXPECT_EQ(answer.header("location"), "https://cdn.example.com/x");
  EXPECT_EQ(server.seen().back().target, "/new");
  EXPECT_EQ(server.seen().back().method, "HEAD");
}

TEST(HttpRedirect, APostKeepsItsBodyOn307AndBecomesAGetOn303) {
  TestServer server([](const auto& request, auto& response) {
    if (request.path == "/307") response.set_redirect("/end", 307);
    if (request.path == "/303") response.set_redirect("/end", 303);
  });
  const HttpClient client = test_client(server.url());
  client.send({.method = "POST", .url = server.url("/307"), .body = "b"});
  EXPECT_EQ(server.seen().back().method, "POST");
  EXPECT_EQ(server.seen().back().body, "b");
  client.send({.method = "POST", .url = server.url("/303"), .body = "b"});
  EXPECT_EQ(server.seen().back().method, "GET");
}

TEST(Http, EndpointsMustBeHttpsUnlessOnThisMachine) {
  for (const std::string bad : {"http://example.com", "http://10.0.0.5:8080", "ftp://example.com",
                                "example", "https://user@example.com", ""}) {
    EXPECT_EQ(error_of([&] { test_client(bad); }).kind(), ErrorKind::kUsage) << bad;
  }
  for (const std::string good : {"https://example.com/", "http://localhost:1", "http://[::1]:1"}) {
    EXPECT_FALSE(test_client(good).endpoint().ends_with("/"));
  }
}

TEST(Http, OfflineAsksNobody) {
  TestServer server([](const auto&, auto&) {});
  const HttpClient client({.endpoint = server.url(), .offline = true});
  EXPECT_EQ(error_of([&] { client.send({.url = server.url()}); }).kind(), ErrorKind::kUnavailable);
  EXPECT_TRUE(server.seen().empty());
}

TEST(Http, AHeaderCannotBringAnotherWithIt) {
  TestServer server([](const auto&, auto&) {});
  const core::Error error = error_of([&] {
    test_client(server.url()).send({.url = server.url(), .headers = {{"X", "a\r\nY: b"}}});
  });
  EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
}

TEST(Http, LinksAreReadByTheirRelation) {
  HttpResponse response{.url = "http://127.0.0.1:1/api/tree?x=1"};
  response.headers = {
      {"link", "<https://h/xet>; rel=\"xet-auth\", </api/tree?cursor=a%3D>; rel=\"next\""}};
  EXPECT_EQ(link_of(response, "next"), "http://127.0.0.1:1/api/tree?cursor=a%3D");
  EXPECT_EQ(link_of(response, "xet-auth"), "https://h/xet");
  EXPECT_EQ(link_of(response, "prev"), "");
}

TEST(HubError, EveryRefusalHasItsExitCodeAndSaysWhatToDo) {
  struct Case {
    int status;
    std::string code, message;
    ErrorKind kind;
    std::string says;
  };
  const HttpClient client = test_client("https://hub.example");
  const HubTarget target{.id = "org/name", .revision = "v1", .file = "config.json"};
  for (const Case& c :
       {Case{401, "RepoNotFound", "", ErrorKind::kNoPermission, "HF_TOKEN"},
        Case{401, "", "", ErrorKind::kNoPermission, "HF_TOKEN"},
        Case{403, "GatedRepo", "", ErrorKind::kNoPermission, "https://hub.example/org/name"},
        Case{403, "", "Access to this resource is disabled.", ErrorKind::kNoPermission, "disabled"},
        Case{403, "", "quota", ErrorKind::kNoPermission, "quota"},
        Case{404, "RepoNotFound", "", ErrorKind::kMissingInput, "no such repository"},
        Case{404, "RevisionNotFound", "", ErrorKind::kMissingInput, "no such revision"},
        Case{404, "EntryNotFound", "", ErrorKind::kMissingInput, "no such file"},
        Case{500, "", "oops", ErrorKind::kUnavailable, "oops"},
        Case{418, "", "", ErrorKind::kUnavailable, "418"}}) {
    HttpResponse response{.status = c.status, .url = "https://hub.example/x"};
    if (!c.code.empty()) response.headers.emplace_back("X-Error-Code", c.code);
    if (!c.message.empty()) response.body = "{\"error\": \"" + c.message + "\"}";
    const core::Error error = error_of([&] { fail_response(response, target, client); });
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), c.kind) << text;
    for (const std::string& part : {c.says, std::string("org/name"), std::string("v1")}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
    }
  }
}

TEST(Url, AddressesOfPrivateNetworksAreKnown) {
  for (const std::string host :
       {"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.168.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1",
        "fe80::1", "fc00::1", "fdff::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"}) {
    EXPECT_TRUE(is_private_host(host)) << host;
  }
  for (const std::string host : {"1.1.1.1", "11.0.0.1", "172.32.0.1", "100.128.0.1", "192.169.0.1",
                                 "2606:4700::1", "::ffff:1.1.1.1", "example.com"}) {
    EXPECT_FALSE(is_private_host(host)) << host;
  }
}

TEST(Url, EncodesAsTheHubsClientsDo) {
  EXPECT_EQ(url_encode("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(url_encode("sub dir/ü.txt", "/"), "sub%20dir/%C3%BC.txt");
  EXPECT_EQ(url_encode("a-b_c.d~e"), "a-b_c.d~e");
}

class TokenTest : public ::testing::Test {
 protected:
  // What find_token answers in a process with this environment; an error's kind as "error 77".
  std::string token_with(const std::vector<std::pair<std::string, std::string>>& environment) {
    const std::filesystem::path answer = folder / "answer";
    in_child([&] {
      for (const char* name : {"HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"}) {
        ::unsetenv(name);
      }
      ::setenv("HOME", (folder / "home").c_str(), 1);
      for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
      std::string text;
      try {
        text = find_token();
      } catch (const core::Error& error) {
        text = "error " + std::to_string(error.exit_code());
      }
      write_text(answer, text);
    });
    return read_text(answer);
  }
  std::filesystem::path token_file(const std::string& name, const std::string& text, mode_t mode) {
    write_text(folder / name, text);
    ::chmod((folder / name).c_str(), mode);
    return folder / name;
  }

  TemporaryFolder folder;
};

TEST_F(TokenTest, ComesFromTheEnvironmentThenFromTheFile) {
  const std::string file = token_file("token", "hf_file\n", 0600);
  token_file("hf/token", "hf_home", 0600);
  EXPECT_EQ(token_with({}), "");
  EXPECT_EQ(token_with({{"HF_TOKEN_PATH", file}, {"HF_HOME", folder / "hf"}}), "hf_file");
  EXPECT_EQ(token_with({{"HF_HOME", folder / "hf"}}), "hf_home");
  EXPECT_EQ(token_with({{"HF_TOKEN", " hf_env\n"}, {"HF_TOKEN_PATH", file}}), "hf_env");
}

TEST_F(TokenTest, AFileOthersMayChangeIsRefused) {
  const std::string readable = token_file("r", "hf_r", 0644);
  const std::string writable = token_file("w", "hf_w", 0622);
  EXPECT_EQ(token_with({{"HF_TOKEN_PATH", readable}}), "hf_r");
  EXPECT_EQ(token_with({{"HF_TOKEN_PATH", writable}}), "error 77");
  EXPECT_EQ(token_with({{"HF_TOKEN", "hf_a b"}}), "error 77");
}

TEST(Offline, IsSaidByEitherVariable) {
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    const int status = in_child([&] {
      ::unsetenv("HF_HUB_OFFLINE");
      ::unsetenv("TRANSFORMERS_OFFLINE");
      bool good = !is_offline();
      for (const char* on : {"1", "on", "YES", "True"})
        good = ::setenv(name, on, 1) == 0 && good && is_offline();
      for (const char* off : {"0", "", "no"})
        good = ::setenv(name, off, 1) == 0 && good && !is_offline();
      ::_exit(good ? 0 : 1);
    });
    EXPECT_EQ(status, 0) << name;
  }
}

}  // namespace
}  // namespace hone::hub
