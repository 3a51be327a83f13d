// The access token of the user, and whether a hub may be asked at all.
#pragma once

#include <string>

namespace hone::hub {

// HF_TOKEN, else the file HF_TOKEN_PATH, else $HF_HOME/token (HF_HOME defaults to
// $XDG_CACHE_HOME/huggingface, then ~/.cache/huggingface); "" when there is none. Surrounding space
// is removed. A token file that others may read is warned about; one that others may write, or that
// belongs to somebody else, throws kNoPermission, and so does a token with control characters.
std::string find_token();

// HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is 1, ON, YES or TRUE.
bool is_offline();

}  // namespace hone::hub
