#include "recipes/train/staging.h"

#include "core/error.h"
#include "core/files.h"

namespace hone::recipes {
namespace fs = std::filesystem;

namespace {

// Without the "/" that may end it; nothing of it is there yet.
fs::path new_output(const fs::path& output) {
  const fs::path path =
      fs::absolute(output.has_filename() ? output : output.parent_path()).lexically_normal();
  if (fs::exists(path) && !(fs::is_directory(path) && fs::is_empty(path))) {
    core::fail(core::ErrorKind::kCannotCreate, {.what = "the output exists already",
                                                .where = output.string(),
                                                .hint = "choose another name, or remove it"});
  }
  return path;
}

std::string hidden_prefix(const fs::path& output) {
  std::string prefix = ".";
  prefix += output.filename().string();
  prefix += ".unproved-";
  return prefix;
}

}  // namespace

Staging::Staging(const fs::path& output)
    : output_(new_output(output)), folder_(output_.parent_path(), hidden_prefix(output_)) {}

void Staging::publish(const fs::path& from) const { core::rename_durable(from, output_); }

}  // namespace hone::recipes
