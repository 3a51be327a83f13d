// Publishing a folder at a hub over HTTP: the counterpart of push_folder for a local store.
#pragma once

#include <filesystem>
#include <string>

#include "hub/http.h"
#include "hub/push.h"

namespace hone::hub {

// One commit, or none if nothing changed. In order: the checks of the folder; the repository and
// the branch, made when they are not there; what the branch holds; the large files the hub lacks;
// the commit, with the branch's head as its parent; the tag. Until the commit the repository is
// unchanged, and what was uploaded is not uploaded again by a second push. A commit whose answer
// was lost is looked for before it is sent again. When the branch moves meanwhile, the commit is
// planned anew on its new head, unless options.expected_parent forbids it.
//
// `repo_id` may leave out the owner: the user's own name then. Throws what check_folder throws, and
// kNoPermission (no token, no right), kMissingInput, kCannotCreate (the tag is taken, the branch
// has moved), kBadInput (the hub refuses the content), kUnavailable.
PushResult push_folder(const HttpClient& client, const std::string& repo_id,
                       const std::filesystem::path& folder, const PushOptions& options);

// Why a push to an HTTP endpoint can't work as things are, found without asking it: no token, an
// endpoint that is not spoken to, offline. "" when nothing is wrong.
std::string push_problem(const std::string& endpoint);

}  // namespace hone::hub
