#include "trainer/checkpoint_bytes.h"

#include <c10/util/accumulate.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "trainer/model_files.h"

namespace hone::trainer {
namespace {

namespace fs = std::filesystem;

std::string bytes_text(int64_t bytes) { return core::format_bytes(static_cast<double>(bytes)); }

}  // namespace

SavedBytes saved_bytes(const models::Model& model, const std::string& save_dtype) {
  SavedBytes saved{.model = num_data_bytes(plan_model_files(model, save_dtype).weights)};
  const std::set<std::string> without_master = exactly_saved(model, save_dtype);
  constexpr int64_t kFloat = sizeof(float);
  for (const models::Stage& stage : model.stages) {
    for (const models::Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      const int64_t of_each = without_master.contains(parameter.name) ? 2 : 3;
      saved.state += of_each * kFloat * c10::multiply_integers(parameter.shape);
    }
  }
  return saved;
}

int64_t free_bytes(const fs::path& folder) {
  struct statvfs status {};
  if (::statvfs(folder.c_str(), &status) != 0)
    core::fail_errno("can't ask for the free space", folder.string(), errno);
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

void require_room(const fs::path& output_dir, const SavedBytes& saved, int64_t num_kept) {
  const int64_t free = free_bytes(output_dir), needed = saved.checkpoint() + saved.model;
  if (free < needed) {
    core::fail(core::ErrorKind::kIo,
               {.what = "the disk has no room for a checkpoint",
                .where = fs::absolute(output_dir).string(),
                .got = bytes_text(free) + " free",
                .expected = bytes_text(saved.checkpoint()) + " for a checkpoint and " +
                            bytes_text(saved.model) + " for the final model",
                .hint = "free space, or another output_dir"});
  }
  const int64_t all = num_kept * saved.checkpoint() + saved.model;
  if (free < all) {
    spdlog::warn("{}: {} free, and the {} checkpoints to keep will take {}: set save_total_limit",
                 output_dir.string(), bytes_text(free), num_kept, bytes_text(all));
  }
}

}  // namespace hone::trainer
