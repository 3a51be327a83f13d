// One hop of an HTTP exchange over a libcurl handle; hub/http.h has the rules around it.
#pragma once

#include <curl/curl.h>

#include <memory>

#include "hub/http.h"
#include "hub/url.h"

namespace hone::hub {

struct Hop {
  std::string method, url;
  std::vector<Header> headers;  // all that is sent, credentials included
  bool sends_body = true;
  bool allow_private = false;  // whether the address may be a private one
  bool use_proxy = true;
  std::chrono::seconds connect_timeout{0}, stall_timeout{0};
};

using CurlHandle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

// Fills `response` and returns the number of body bytes handed to the sink. Throws what the sink
// throws, kUnavailable for a refused address or a body over the limit, kIo for an unreadable file.
uint64_t transfer(CURL* curl, const Hop& hop, const HttpRequest& request, HttpResponse& response);

}  // namespace hone::hub
