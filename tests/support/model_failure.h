// Expecting an Error and what it says.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"

namespace hone::models {

// Expects an Error of `kind` whose message holds every one of `parts`.
inline void expect_failure(const std::function<void()>& action, core::ErrorKind kind,
                           const std::vector<std::string>& parts = {}) {
  try {
    action();
  } catch (const core::Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), kind) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
    }
    return;
  }
  ADD_FAILURE() << "nothing was thrown";
}

}  // namespace hone::models
