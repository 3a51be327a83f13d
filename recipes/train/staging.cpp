#include "recipes/train/staging.h"

#include <stdlib.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace hone::recipes {
namespace fs = std::filesystem;

Staging::Staging(const fs::path& output)
    : output_(
          fs::absolute(output.has_filename() ? output : output.parent_path()).lexically_normal()) {
  if (fs::exists(output_) && !(fs::is_directory(output_) && fs::is_empty(output_))) {
    core::fail(core::ErrorKind::kCannotCreate, {.what = "the output exists already",
                                                .where = output.string(),
                                                .hint = "choose another name, or remove it"});
  }
  core::make_folders(output_.parent_path());
  fs::path hidden = output_.parent_path() / ".";
  hidden += output_.filename();
  hidden += ".unproved-XXXXXX";
  std::string name = hidden.string();
  if (::mkdtemp(name.data()) == nullptr)
    core::fail_errno("can't create a folder in", output_.parent_path().string(), errno);
  path_ = name;
}

void Staging::publish(const fs::path& from) const { core::rename_durable(from, output_); }

Staging::~Staging() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace hone::recipes
