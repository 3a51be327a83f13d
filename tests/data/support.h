// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "tests/core/temp_folder.h"
#include "tests/support/paths.h"

namespace hone::data {

using core::Json;
using core::TempFolder;

inline std::filesystem::path golden_text() {
  return std::filesystem::path(test::kSourceDir) / "tests/golden/text";
}

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

// A golden tokenizer with the given chat template (none: "").
inline Tokenizer make_tokenizer(const TempFolder& folder, const std::string& name,
                                const std::string& chat_template) {
  const auto source = golden_text() / "tokenizers" / name;
  const auto target = folder.path() / "model";
  std::filesystem::create_directories(target);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(source / file, target / file,
                               std::filesystem::copy_options::overwrite_existing);
  }
  if (!chat_template.empty()) folder.write("model/chat_template.jinja", chat_template);
  return Tokenizer::load(target);
}

inline std::string golden_template(const std::string& name) {
  return core::read_file(golden_text() / "templates" / (name + ".jinja"));
}

inline Tokenizer make_chatml(const TempFolder& folder) {
  return make_tokenizer(folder, "qwen2", golden_template("qwen2_5"));
}

// The trained part of a row as text, runs joined by "|".
inline std::string trained_text(const TokenRow& row, const Tokenizer& tokenizer) {
  std::string result;
  std::vector<int32_t> run;
  const auto flush = [&] {
    if (run.empty()) return;
    result += (result.empty() ? "" : "|") + tokenizer.decode(run, false);
    run.clear();
  };
  for (size_t i = 0; i < row.ids.size(); ++i) {
    if (row.trained[i]) {
      run.push_back(row.ids[i]);
    } else {
      flush();
    }
  }
  flush();
  return result;
}

inline std::string row_text(const TokenRow& row, const Tokenizer& tokenizer) {
  return tokenizer.decode({row.ids.begin(), row.ids.end()}, false);
}

}  // namespace hone::data
