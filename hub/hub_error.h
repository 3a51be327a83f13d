// What a refusal of a hub means for the user: its status, X-Error-Code and X-Error-Message as one
// of our errors.
#pragma once

#include <string>

#include "hub/http.h"
#include "hub/repo_id.h"

namespace hone::hub {

// What was asked for, to name it in messages.
struct HubTarget {
  RepoKind kind = RepoKind::kModel;
  std::string id;
  std::string revision;  // "" when the request names none
  std::string file;      // "" when the request is about the whole repository
};

// "model 'org/name' (revision main, file config.json)"
std::string to_string(const HubTarget& target);

// The hub's own word: X-Error-Code ("RepoNotFound", "RevisionNotFound", "EntryNotFound",
// "GatedRepo", ...) or "".
std::string error_code(const HttpResponse& response);
// X-Error-Message, else "error" of a JSON body, else "": one line, shortened.
std::string error_message(const HttpResponse& response);

// Throws kNoPermission for 401 and 403 (gated and disabled repositories too) with what to do,
// kMissingInput for 404 and 410, kUnavailable for anything else.
[[noreturn]] void fail_response(const HttpResponse& response, const HubTarget& target,
                                const HttpClient& client);

}  // namespace hone::hub
