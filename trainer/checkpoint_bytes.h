// What saving will take of the disk, known before the first step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/model.h"

namespace hone::trainer {

struct SavedBytes {
  int64_t model = 0;  // weights or adapter, as in the output folder
  int64_t state = 0;  // masters and moments, beside them in a checkpoint

  int64_t checkpoint() const { return model + state; }
};

// Of the whole model, whatever part of it this rank keeps. Side files, a few megabytes, are not in
// it.
SavedBytes saved_bytes(const models::Model& model, const std::string& save_dtype);

// Bytes that a user may still write to the file system of `folder`, which is there. Throws kIo.
int64_t free_bytes(const std::filesystem::path& folder);

// Throws kIo where a checkpoint and the final model do not fit beside each other; warns where
// `num_kept` checkpoints do not.
void require_room(const std::filesystem::path& output_dir, const SavedBytes& saved,
                  int64_t num_kept);

}  // namespace hone::trainer
