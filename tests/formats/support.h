// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "core/error.h"
#include "tests/core/temp_folder.h"
#include "tests/support/paths.h"

namespace hone::formats {

struct Failure {
  bool thrown = false;
  core::ErrorKind kind{};
  std::string message;
};

inline Failure failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    return {true, error.kind(), error.what()};
  }
  return {};
}

// Expects an Error of `kind` whose message holds every one of `parts`.
inline void expect_failure(const std::function<void()>& action, core::ErrorKind kind,
                           const std::vector<std::string>& parts) {
  const Failure failure = failure_of(action);
  ASSERT_TRUE(failure.thrown) << "nothing was thrown";
  EXPECT_EQ(failure.kind, kind) << failure.message;
  for (const std::string& part : parts) {
    EXPECT_NE(failure.message.find(part), std::string::npos)
        << "no '" << part << "' in: " << failure.message;
  }
}

// The bytes of a number as files hold them.
template <typename T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string safetensors_text(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

inline const std::string kGoldenFolder = std::string(test::kSourceDir) + "/tests/golden/formats";

}  // namespace hone::formats
