#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "data/file_readers.h"
#include "data/hftext/hftext.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

constexpr size_t kBatchBytes = size_t{1} << 20;

class ParquetRows : public RowReader {
 public:
  ParquetRows(const fs::path& path, const std::vector<std::string>& columns) : path_(path) {
    std::string names;
    for (const std::string& column : columns) names += column + '\0';
    hft_error error{};
    const std::string file = path.string();
    if (::hft_parquet_open(file.data(), file.size(), names.data(), names.size(), &rows_, &error) !=
        0) {
      refuse(error, path.string());
    }
  }
  ~ParquetRows() override {
    ::hft_text_free(batch_);
    ::hft_parquet_free(rows_);
  }

  bool next(FileRow& row) override {
    if (left_.empty() && !read_batch()) return false;
    const size_t end = left_.find('\n');
    row.line = ++num_rows_;
    row.text = left_.substr(0, end);
    row.problem = {};
    left_.remove_prefix(std::min(end, left_.size() - 1) + 1);
    return true;
  }
  // Rows come out of whole groups, of which the file does not say how long they take.
  double fraction() const override { return 0; }

 private:
  bool read_batch() {
    ::hft_text_free(batch_);
    batch_ = {};
    hft_error error{};
    if (::hft_parquet_next(rows_, kBatchBytes, &batch_, &error) != 0)
      refuse(error, path_.string() + ":" + std::to_string(num_rows_ + 1));
    left_ = {batch_.data, batch_.size};
    return batch_.size > 0;
  }

  [[noreturn]] static void refuse(hft_error error, const std::string& where) {
    const std::string message(error.message.data, error.message.size);
    ::hft_text_free(error.message);
    core::fail(core::ErrorKind::kBadInput,
               {.what = "can't read Parquet: " + message.substr(0, 400), .where = where});
  }

  fs::path path_;
  hft_parquet* rows_ = nullptr;
  hft_text batch_{};
  std::string_view left_;
  uint64_t num_rows_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_parquet_rows(const fs::path& path,
                                             const std::vector<std::string>& columns) {
  return std::make_unique<ParquetRows>(path, columns);
}

}  // namespace hone::data
