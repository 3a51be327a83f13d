#include "recipes/train/staging.h"

#include <stdlib.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace hone::recipes {
namespace fs = std::filesystem;

Staging::Staging(const fs::path& output) {
  const fs::path named = output.has_filename() ? output : output.parent_path();
  const fs::path absolute = fs::absolute(named).lexically_normal();
  if (fs::exists(absolute) && !(fs::is_directory(absolute) && fs::is_empty(absolute))) {
    core::fail(core::ErrorKind::kCannotCreate, {.what = "the output exists already",
                                                .where = output.string(),
                                                .hint = "choose another name, or remove it"});
  }
  core::make_folders(absolute.parent_path());
  fs::path hidden = absolute.parent_path() / ".";
  hidden += absolute.filename();
  hidden += ".unproved-XXXXXX";
  std::string name = hidden.string();
  if (::mkdtemp(name.data()) == nullptr)
    core::fail_errno("can't create a folder in", absolute.parent_path().string(), errno);
  path_ = name;
}

Staging::~Staging() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace hone::recipes
