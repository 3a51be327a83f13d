#include "hub/push_answer.h"

#include "core/error.h"
#include "core/text.h"
#include "hub/url.h"

namespace hone::hub {
using core::ErrorKind;
using core::Json;

HttpResponse post(const HttpClient& client, const std::string& url, const std::string& body,
                  const PostOptions& options) {
  return client.send({.method = "POST",
                      .url = url,
                      .headers = options.headers,
                      .body = body,
                      .follow_to_others = false,
                      .retry = options.retry,
                      .stall = options.stall});
}

Json post_json(const HttpClient& client, const HubTarget& target, const std::string& url,
               const std::string& body, const PostOptions& options) {
  const HttpResponse response = post(client, url, body, options);
  if (!response.ok()) fail_push(response, target, client);
  return json_object(response, target);
}

Json json_object(const HttpResponse& response, const HubTarget& target) {
  Json body = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (body.is_object()) return body;
  core::fail(ErrorKind::kUnavailable,
             {.what = "the hub's answer is not a JSON object",
              .where = to_string(target) + " at " + shown_url(response.url),
              .got = core::excerpt(response.body)});
}

void fail_push(const HttpResponse& response, const HubTarget& target, const HttpClient& client) {
  const int status = response.status;
  if (status != 400 && status != 413 && status != 422) fail_response(response, target, client);
  const std::string message = error_message(response);
  core::fail(ErrorKind::kBadInput,
             {.what = "the hub refuses what is pushed",
              .where = to_string(target) + " at " + shown_url(response.url),
              .got = std::to_string(status) + (message.empty() ? "" : " " + message)});
}

}  // namespace hone::hub
