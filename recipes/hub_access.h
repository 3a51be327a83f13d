// How verbs reach hubs: where ids are looked up, and progress of downloads on the terminal.
#pragma once

#include <string>

#include "hub/resolve.h"

namespace hone::recipes {

// Options for an endpoint as users write it: "" is the local store, then HF_ENDPOINT or the public
// hub; a URL is that hub instead; a folder is another local store, beside the default endpoint.
hub::ResolveOptions hub_access(const std::string& endpoint);

// One line that is rewritten on a terminal, a line now and then elsewhere: files, bytes, rate, time
// left. The state starts anew with each call of this function.
hub::PullProgress download_line();

// "3 of 9 files, 1.2 GB of 4.8 GB (25 %), 110 MB/s, 33 s left"
std::string download_text(const hub::PullState& state, double seconds);

}  // namespace hone::recipes
