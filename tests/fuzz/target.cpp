#include "tests/fuzz/target.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "core/temporary_folder.h"
#include "core/text.h"

namespace hone::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxMessageBytes = size_t{64} << 10;

void check_message(const std::string& message) {
  require(!message.empty(), "an error without a message");
  require(message.size() <= kMaxMessageBytes,
          "an error message of " + std::to_string(message.size()) + " bytes");
  require(core::is_valid_utf8(message), "an error message that is not UTF-8: " + message);
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F;
  };
  require(std::none_of(message.begin(), message.end(), is_control),
          "an error message with control characters: " + core::excerpt(message, 400));
}

}  // namespace

void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error("finding: " + what);
}

bool accepts(const std::function<void()>& read, std::initializer_list<core::ErrorKind> kinds) {
  try {
    read();
    return true;
  } catch (const core::Error& error) {
    if (std::find(kinds.begin(), kinds.end(), error.kind()) == kinds.end()) throw;
    check_message(error.what());
    return false;
  }
}

const fs::path& scratch_folder() {
  static const core::TemporaryFolder scratch(
      fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path(), "hone-fuzz-");
  return scratch.path();
}

fs::path write_scratch(const std::string& name, std::string_view bytes) {
  fs::path path = scratch_folder() / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<int64_t>(bytes.size()));
  return path;
}

}  // namespace hone::fuzz
