#include "trainer/checkpoint_save.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "kernels/optimizer.h"
#include "parallel/comm/agree.h"
#include "trainer/numerical.h"
#include "trainer/state_files.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

bool is_finite(const at::Tensor& flat) {
  return !flat.defined() || flat.numel() == 0 || std::isfinite(kernels::sum_of_squares(flat));
}

// A finite gradient can still push a weight or moment past the largest float: such a state must not
// replace a good one.
void require_finite(const CheckpointSource& source) {
  for (size_t i = 0; i < source.model.stages.size(); ++i) {
    if (is_finite(source.model.stages[i].kept.trainable) &&
        is_finite(source.optimizer.exp_avg[i]) && is_finite(source.optimizer.exp_avg_sq[i])) {
      continue;
    }
    fail_not_finite(source.model,
                    "weights or moments of " + source.model.stages[i].name +
                        " are not finite after step " + std::to_string(source.state.step),
                    std::nan(""), {});
  }
}

fs::path temporary_path(const fs::path& path) {
  return path.string() + std::string(kTemporarySuffix);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  return lines;
}

template <typename T>
bool is_ready(const std::future<T>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

CheckpointSave::CheckpointSave(const fs::path& output_dir, const CheckpointSource& source,
                               parallel::Mesh& mesh)
    : source_(source),
      mesh_(mesh),
      final_path_(checkpoint_path(output_dir, source.state.step)),
      state_(source.state),
      num_updates_(source.optimizer.num_updates),
      model_files_(plan_model_files(source.model, source.save_dtype)),
      folder_path_(temporary_path(final_path_)) {
  files_ = model_files_.weights;
  for (TensorFile& file : plan_state_files(source.model, source.optimizer,
                                           exactly_saved(source.model, source.save_dtype)))
    files_.push_back(std::move(file));
  times_.step = state_.step;
  times_.num_bytes = num_data_bytes(files_);
  parallel::together(mesh_.host, [&] {
    require_finite(source_);
    if (mesh_.rank != 0) return;
    folder_ = std::make_unique<PendingFolder>(folder_path_);
    create_tensor_files(folder_path_, files_);
  });
  start_writing();
  times_.exposed_seconds = since_start();
}

CheckpointSave::~CheckpointSave() {
  if (writing_.valid()) writing_.wait();
  if (hashing_.valid()) hashing_.wait();
}

double CheckpointSave::since_start() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void CheckpointSave::write_all() {
  std::optional<TensorFileWriter> writer;
  try {
    writer.emplace(folder_path_, files_);
    read_.set_value();
  } catch (...) {
    read_.set_value();  // nothing more is read; the error is told when `writing_` is asked
    written_.set_value();
    throw;
  }
  try {
    if (mesh_.rank == 0) {
      write_side_files(folder_path_, model_files_, source_.model, source_.model_folder,
                       source_.save_dtype);
      write_trainer_state(folder_path_, state_, num_updates_);
    }
  } catch (...) {
    written_.set_value();
    throw;
  }
  written_.set_value();
  writer->sync();
  times_.write_seconds = since_start();
}

void CheckpointSave::start_writing() {
  is_read_ = read_.get_future();
  is_written_ = written_.get_future();
  writing_ = std::async(std::launch::async, [this] { write_all(); });
}

void CheckpointSave::wait_until_read() {
  const auto begin = Clock::now();
  is_read_.wait();
  times_.exposed_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
}

// What the ranks wrote can be read back before it is on the disk.
void CheckpointSave::start_hashing() {
  hashing_ = std::async(std::launch::async, [this] {
    const double begin = since_start();
    listed_ = list_sizes(folder_path_);
    auto hashes = hash_share(folder_path_, listed_, mesh_.rank, mesh_.host.size());
    times_.hash_seconds = since_start() - begin;
    return hashes;
  });
  phase_ = Phase::kHashing;
}

void CheckpointSave::publish() {
  std::string own;
  parallel::together(mesh_.host, [&] {
    writing_.get();
    for (const std::string& hash : hashing_.get()) own += hash + "\n";
  });
  std::vector<std::vector<std::string>> shares;
  for (const std::string& share : parallel::gather_texts(mesh_.host, own))
    shares.push_back(lines_of(share));
  parallel::together(mesh_.host, [&] {
    if (mesh_.rank != 0) return;
    join_hashes(listed_, shares);
    write_manifest(folder_path_, {.step = state_.step,
                                  .layout = mesh_.layout,
                                  .identity = source_.identity,
                                  .files = listed_});
    core::fsync_folder(folder_path_ / kStateFolder);
    folder_->publish(final_path_);
  });
  times_.seconds = since_start();
  phase_ = Phase::kPublished;
  folder_.reset();
}

bool CheckpointSave::own_part_is_done() const {
  if (phase_ == Phase::kWriting) return is_ready(is_written_);
  return is_ready(hashing_) && is_ready(writing_);
}

bool CheckpointSave::all_are_done() {
  int32_t done = own_part_is_done() ? 1 : 0;
  mesh_.host.all_reduce(&done, &done, 1, parallel::DType::kInt32, parallel::ReduceOp::kMin);
  return done != 0;
}

bool CheckpointSave::advance() {
  if (phase_ == Phase::kPublished) return true;
  const auto begin = Clock::now();
  if (all_are_done()) {
    if (phase_ == Phase::kWriting) {
      start_hashing();
    } else {
      publish();
    }
  }
  times_.exposed_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  return phase_ == Phase::kPublished;
}

void CheckpointSave::wait() {
  const auto begin = Clock::now();
  if (phase_ == Phase::kWriting) is_written_.wait();
  if (phase_ == Phase::kHashing) {
    hashing_.wait();
    writing_.wait();
  }
  times_.exposed_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
}

fs::path save_checkpoint(const fs::path& output_dir, const CheckpointSource& source) {
  parallel::Mesh mesh = parallel::solo_mesh();
  CheckpointSave save(output_dir, source, mesh);
  do {
    save.wait();
  } while (!save.advance());
  return save.path();
}

void save_final_model(const fs::path& output_dir, const models::Model& model,
                      const fs::path& model_folder, const std::string& save_dtype,
                      parallel::Mesh& mesh) {
  const ModelFiles files = plan_model_files(model, save_dtype);
  const fs::path folder_path = temporary_path(output_dir / "checkpoint-final");
  std::unique_ptr<PendingFolder> folder;
  parallel::together(mesh.host, [&] {
    if (mesh.rank != 0) return;
    folder = std::make_unique<PendingFolder>(folder_path);
    create_tensor_files(folder_path, files.weights);
  });
  parallel::together(mesh.host, [&] { TensorFileWriter(folder_path, files.weights).sync(); });
  parallel::together(mesh.host, [&] {
    if (mesh.rank != 0) return;
    for (const TensorFile& file : files.weights)
      core::rename_durable(folder_path / file.path, output_dir / file.path);
    write_side_files(output_dir, files, model, model_folder, save_dtype);
  });
}

}  // namespace hone::trainer
