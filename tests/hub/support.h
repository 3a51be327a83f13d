// Temporary folders and the git program as an oracle, for the tests of hub/.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "hub/push.h"
#include "hub/store.h"
#include "tests/core/temp_folder.h"

namespace hone::hub {

using TemporaryFolder = core::TempFolder;

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Output {
  int code = 0;
  std::string text;
};

// Runs git on a repository, without any configuration but the repository's own.
inline Output git(const std::filesystem::path& repo, const std::string& arguments) {
  const std::string command = "GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent git --git-dir='" +
                              repo.string() + "' " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  Output output;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.text.append(buffer.data(), n);
  }
  const int status = ::pclose(pipe);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

[[noreturn]] inline void run_and_exit(const std::function<void()>& body) {
  try {
    body();
  } catch (const core::Error& error) {
    ::_exit(error.exit_code());
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

// Runs `bodies` at once, each in another process, and returns their wait statuses. None begins
// before all are forked: a fork while another thread allocates may leave the child's allocator
// locked.
inline std::vector<int> in_children(const std::vector<std::function<void()>>& bodies) {
  int gate[2] = {-1, -1};
  if (::pipe(gate) != 0) throw std::runtime_error("pipe");
  std::vector<pid_t> children;
  for (const auto& body : bodies) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::close(gate[1]);
    char nothing = 0;
    while (::read(gate[0], &nothing, 1) < 0 && errno == EINTR) {
    }
    run_and_exit(body);
  }
  ::close(gate[0]);
  ::close(gate[1]);
  std::vector<int> statuses(children.size(), -1);
  for (size_t i = 0; i < children.size(); ++i) ::waitpid(children[i], &statuses[i], 0);
  return statuses;
}

// The same for one.
inline int in_child(const std::function<void()>& body) { return in_children({body}).front(); }

// The error `body` throws; fails the test when it throws none.
inline core::Error error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const core::Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return core::Error(core::ErrorKind::kInternal, {});
}

inline std::string weights_text(char fill) { return std::string(3000, fill); }

// A folder that looks like a small model.
inline void write_model(const std::filesystem::path& folder, char fill = 'w') {
  write_text(folder / "config.json", "{\"model_type\": \"llama\"}\n");
  write_text(folder / "tokenizer.json", "{}\n");
  write_text(folder / "README.md", "# a model\n");
  write_text(folder / "model.safetensors", weights_text(fill));
}

}  // namespace hone::hub
