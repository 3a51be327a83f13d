// Questions to a hub that change it, and what its refusals mean for a push.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/json.h"
#include "hub/http.h"
#include "hub/hub_error.h"

namespace hone::hub {

struct PostOptions {
  std::vector<Header> headers = {{"Content-Type", "application/json"}};
  bool retry = true;
  std::chrono::seconds stall{0};
};

// The answer to a POST of `body`, which a redirect to another origin never gets.
HttpResponse post(const HttpClient& client, const std::string& url, const std::string& body,
                  const PostOptions& options = {});
// The JSON of a good one. Throws fail_push of another; kUnavailable when it is no JSON object.
core::Json post_json(const HttpClient& client, const HubTarget& target, const std::string& url,
                     const std::string& body, const PostOptions& options = {});
// The body as a JSON object. Throws kUnavailable naming `target`.
core::Json json_object(const HttpResponse& response, const HubTarget& target);

// As fail_response; and kBadInput for 400, 413 and 422: the hub refuses what is pushed.
[[noreturn]] void fail_push(const HttpResponse& response, const HubTarget& target,
                            const HttpClient& client);

}  // namespace hone::hub
