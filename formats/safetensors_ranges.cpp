#include "formats/safetensors_ranges.h"

#include "core/error.h"
#include "core/files.h"
#include "formats/tensor_parts.h"

namespace hone::formats {

using core::ErrorKind;
using core::fail;

void create_planned_file(const std::filesystem::path& path, const SafetensorsPlan& plan) {
  core::create_sparse_file(path, plan.file_bytes);
  try {
    core::WriteFile file(path);
    file.write_at(0, std::as_bytes(std::span(plan.header)));
    file.sync();
    core::fsync_folder(path.has_parent_path() ? path.parent_path() : ".");
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    throw;
  }
}

RangeWriter::RangeWriter(const std::filesystem::path& path, const SafetensorsPlan& plan)
    : path_(path),
      file_(path),
      tensors_(plan.tensors),
      index_(index_by_name(plan.tensors)),
      bytes_written_(std::make_unique<std::atomic<uint64_t>>(0)) {
  if (file_.size() != plan.file_bytes) {
    fail(ErrorKind::kBadInput, {.what = "the file to write into has the wrong size",
                                .where = path,
                                .got = std::to_string(file_.size()) + " bytes",
                                .expected = std::to_string(plan.file_bytes)});
  }
  std::string header(plan.header.size(), '\0');
  core::ReadFile(path).read_at(0, std::as_writable_bytes(std::span(header)));
  if (header != plan.header) {
    fail(ErrorKind::kBadInput,
         {.what = "the file to write into was planned for other tensors", .where = path});
  }
}

void RangeWriter::write(const std::string& name, uint64_t offset,
                        std::span<const std::byte> bytes) {
  file_.write_at(place_of_part(tensors_, index_, name, offset, bytes.size(), path_), bytes);
  *bytes_written_ += bytes.size();
}

}  // namespace hone::formats
