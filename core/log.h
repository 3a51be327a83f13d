// Process-wide logging set-up over spdlog, done once by main. Every line passes one filter that
// hides tokens.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace hone::core {

// Lines go to stderr. `rank` > 0 prints warnings and errors only, with the rank in front.
void set_up_log(int rank, bool verbose);
// Hides `hf_...` tokens, Authorization values, and user info or signed queries of URLs.
std::string redact(std::string_view text);

}  // namespace hone::core
