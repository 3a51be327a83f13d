#include "hub/hub_error.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "hub/url.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

constexpr size_t kMaxMessageChars = 300;
constexpr std::string_view kDisabled = "Access to this resource is disabled.";

std::string page_of(const HubTarget& target, const HttpClient& client) {
  return client.endpoint() + (target.kind == RepoKind::kDataset ? "/datasets/" : "/") + target.id;
}

std::string token_advice(const HttpClient& client) {
  if (client.config().token.empty()) {
    return "put an access token into HF_TOKEN or $HF_HOME/token (readable by you alone)";
  }
  return "the token in use has no right to it, or has expired: HF_TOKEN, else $HF_HOME/token";
}

[[noreturn]] void fail_permission(const HttpResponse& response, const HubTarget& target,
                                  const HttpClient& client) {
  const std::string code = error_code(response), message = error_message(response);
  core::ErrorDetail detail{.where = to_string(target)};
  if (code == "GatedRepo") {
    detail.what = "the repository is gated: its owner asks you to accept terms first";
    detail.hint = "ask for access on " + page_of(target, client) + ", then " + token_advice(client);
  } else if (message == kDisabled) {
    detail.what = "the hub has disabled this repository";
  } else if (code == "RepoNotFound" || (response.status == 401 && code.empty())) {
    detail.what = "no such repository, or a private one";
    detail.hint = "check the name; if it is right, " + token_advice(client);
  } else {
    detail.what = "the hub refuses access";
    detail.hint = token_advice(client);
  }
  detail.got = std::to_string(response.status) + (message.empty() ? "" : " " + message);
  core::fail(ErrorKind::kNoPermission, std::move(detail));
}

[[noreturn]] void fail_missing(const HttpResponse& response, const HubTarget& target,
                               const HttpClient& client) {
  const std::string code = error_code(response);
  std::string what = "not on the hub " + client.endpoint();
  if (code == "RepoNotFound") what = "no such repository on " + client.endpoint();
  if (code == "RevisionNotFound") what = "the repository has no such revision";
  if (code == "EntryNotFound") what = "the repository has no such file";
  const bool whole = code == "RepoNotFound" || code.empty();
  core::fail(
      ErrorKind::kMissingInput,
      {.what = what,
       .where = to_string(target),
       .got = std::to_string(response.status),
       .hint = whole ? "check the name; a private repository looks missing without rights: " +
                           token_advice(client)
                     : ""});
}

}  // namespace

std::string to_string(const HubTarget& target) {
  std::string text = (target.kind == RepoKind::kModel ? "model '" : "dataset '") + target.id + "'";
  std::string more = target.revision.empty() ? "" : "revision " + target.revision;
  if (!target.file.empty()) more += (more.empty() ? "file " : ", file ") + target.file;
  return more.empty() ? text : text + " (" + more + ")";
}

std::string error_code(const HttpResponse& response) {
  return response.header("x-error-code").value_or("");
}

std::string error_message(const HttpResponse& response) {
  if (const auto message = response.header("x-error-message"); message && !message->empty()) {
    return core::excerpt(*message, kMaxMessageChars);
  }
  const auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || !body.contains("error") || !body["error"].is_string()) return "";
  return core::excerpt(body["error"].get<std::string>(), kMaxMessageChars);
}

void fail_response(const HttpResponse& response, const HubTarget& target,
                   const HttpClient& client) {
  const int status = response.status;
  if (status == 401 || status == 403) fail_permission(response, target, client);
  if (status == 404 || status == 410) fail_missing(response, target, client);
  const std::string message = error_message(response);
  const auto wait = response.header("retry-after");
  core::fail(
      ErrorKind::kUnavailable,
      {.what =
           "the hub answers " + std::to_string(status) + (message.empty() ? "" : ": " + message),
       .where = to_string(target) + " at " + shown_url(response.url),
       .hint = status == 429 && wait ? "too many requests; try again in " + *wait + " s" : ""});
}

}  // namespace hone::hub
