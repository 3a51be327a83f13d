// Saving beside the training: a checkpoint's files are written while the next step computes.
#pragma once

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/mesh.h"
#include "trainer/checkpoint.h"
#include "trainer/model_files.h"
#include "trainer/pending_folder.h"

namespace hone::trainer {

struct SaveTimes {
  int64_t step = 0, num_bytes = 0;  // of tensors, over all ranks
  double seconds = 0;               // from the begin to the rename
  double write_seconds = 0;         // of it until what this rank writes was on the disk
  double hash_seconds = 0;          // to read this rank's share back and hash it, beside the disk
  double exposed_seconds = 0;       // that the training stood still for it
};

// One save of all ranks. Weights and moments change only in a step's update, so nothing is copied:
// a thread writes them from where they are, and the next update waits until it has. Constructor
// and advance are collective over the mesh; an error of one rank is thrown by all, and what
// was written is removed.
class CheckpointSave {
 public:
  // Checks that all is finite (kNumerical), makes the temporary folder with its files, starts to
  // write. What `source` refers to must outlive this object.
  CheckpointSave(const std::filesystem::path& output_dir, const CheckpointSource& source,
                 parallel::Mesh& mesh);
  ~CheckpointSave();
  CheckpointSave(const CheckpointSave&) = delete;
  CheckpointSave& operator=(const CheckpointSave&) = delete;

  void wait_until_read();  // weights and moments may change afterwards; not collective
  // Goes on to the next part if all ranks are done with the one before. True once the checkpoint is
  // published.
  bool advance();
  // Until this rank is done with what `advance` asks for next; not collective.
  void wait();
  const std::filesystem::path& path() const { return final_path_; }
  const SaveTimes& times() const { return times_; }

 private:
  enum class Phase { kWriting, kHashing, kPublished };
  using Clock = std::chrono::steady_clock;

  void start_writing();
  void write_all();  // in a thread of its own
  void start_hashing();
  void publish();
  bool own_part_is_done() const;
  bool all_are_done();
  double since_start() const;

  const CheckpointSource source_;
  parallel::Mesh& mesh_;
  const std::filesystem::path final_path_;
  const TrainerState state_;  // as it was at the begin
  const int64_t num_updates_;
  const Clock::time_point start_ = Clock::now();
  ModelFiles model_files_;
  std::vector<TensorFile> files_;          // of the model and of state/
  std::unique_ptr<PendingFolder> folder_;  // rank 0's
  std::filesystem::path folder_path_;
  std::vector<ManifestFile> listed_;
  Phase phase_ = Phase::kWriting;
  std::promise<void> read_, written_;  // nothing is read any more; all can be read back
  std::future<void> is_read_, is_written_, writing_;
  std::future<std::vector<std::string>> hashing_;
  SaveTimes times_;
};

// Writes the final model into output_dir, each file by one rename. Collective; errors as above.
void save_final_model(const std::filesystem::path& output_dir, const models::Model& model,
                      const std::filesystem::path& model_folder, const std::string& save_dtype,
                      parallel::Mesh& mesh);

}  // namespace hone::trainer
