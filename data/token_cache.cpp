#include "data/token_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;
namespace {

constexpr int kVersion = 2;

Json totals_to_json(const DatasetTotals& t) {
  return {{"num_rows", t.num_rows},
          {"num_bad_rows", t.num_bad_rows},
          {"num_tokens", t.num_tokens},
          {"num_trained_tokens", t.num_trained_tokens},
          {"num_truncated_rows", t.num_truncated_rows},
          {"num_truncated_tokens", t.num_truncated_tokens},
          {"num_untrained_rows", t.num_untrained_rows},
          {"num_split_rows", t.num_split_rows},
          {"num_duplicate_rows", t.num_duplicate_rows}};
}

DatasetTotals totals_from_json(const Json& json) {
  DatasetTotals t;
  t.num_rows = json.at("num_rows");
  t.num_bad_rows = json.at("num_bad_rows");
  t.num_tokens = json.at("num_tokens");
  t.num_trained_tokens = json.at("num_trained_tokens");
  t.num_truncated_rows = json.at("num_truncated_rows");
  t.num_truncated_tokens = json.at("num_truncated_tokens");
  t.num_untrained_rows = json.at("num_untrained_rows");
  t.num_split_rows = json.at("num_split_rows");
  t.num_duplicate_rows = json.at("num_duplicate_rows");
  return t;
}

}  // namespace

void DatasetTotals::add(const DatasetTotals& other) {
  num_rows += other.num_rows;
  num_bad_rows += other.num_bad_rows;
  num_tokens += other.num_tokens;
  num_trained_tokens += other.num_trained_tokens;
  num_truncated_rows += other.num_truncated_rows;
  num_truncated_tokens += other.num_truncated_tokens;
  num_untrained_rows += other.num_untrained_rows;
  num_split_rows += other.num_split_rows;
  num_duplicate_rows += other.num_duplicate_rows;
}

TokenCacheWriter::TokenCacheWriter(const fs::path& final_folder, std::string key)
    : final_folder_(final_folder),
      staging_(final_folder.string() + ".building." + std::to_string(::getpid())),
      key_(std::move(key)) {
  core::remove_tree(staging_);
  core::make_folders(staging_);
  ids_ = create("ids.bin");
  trained_ = create("trained.bin");
  offsets_ = create("offsets.bin");
  labels_ = create("labels.bin");
  kept_ = create("kept.bin");
  write(offsets_, &num_tokens_, sizeof(uint64_t), 1, "offsets.bin");
}

TokenCacheWriter::~TokenCacheWriter() {
  std::error_code ignored;
  fs::remove_all(staging_, ignored);
}

TokenCacheWriter::File TokenCacheWriter::create(const char* name) const {
  File file(std::fopen((staging_ / name).c_str(), "wb"));
  if (!file) core::fail_errno("can't create", (staging_ / name).string(), errno);
  return file;
}

void TokenCacheWriter::write(const File& file, const void* data, size_t size, size_t count,
                             const char* name) const {
  if (std::fwrite(data, size, count, file.get()) != count) {
    core::fail_errno("can't write", (staging_ / name).string(), errno);
  }
}

void TokenCacheWriter::append(const MaskedTokens& row) {
  write(ids_, row.ids.data(), sizeof(int32_t), row.ids.size(), "ids.bin");
  write(trained_, row.trained.data(), 1, row.trained.size(), "trained.bin");
  num_tokens_ += row.ids.size();
  uint32_t num_labels = 0;
  for (size_t i = 1; i < row.trained.size(); ++i) num_labels += row.trained[i];
  write(offsets_, &num_tokens_, sizeof(uint64_t), 1, "offsets.bin");
  write(labels_, &num_labels, sizeof(uint32_t), 1, "labels.bin");
  if (num_labels > 0) write(kept_, &num_rows_, sizeof(uint64_t), 1, "kept.bin");
  ++num_rows_;
}

void TokenCacheWriter::finish(const DatasetTotals& totals) { finish(std::vector{totals}); }

void TokenCacheWriter::finish(const std::vector<DatasetTotals>& totals) {
  for (const File* file : {&ids_, &trained_, &offsets_, &labels_, &kept_}) {
    if (std::fflush(file->get()) != 0) core::fail_errno("can't write", staging_.string(), errno);
  }
  for (const char* name : {"ids.bin", "trained.bin", "offsets.bin", "labels.bin", "kept.bin"})
    core::fsync_file(staging_ / name);
  Json sources = Json::array();
  for (const DatasetTotals& source : totals) sources.push_back(totals_to_json(source));
  const Json meta = {{"version", kVersion}, {"key", key_}, {"sources", std::move(sources)}};
  core::write_file_atomic(staging_ / "meta.json", core::dump_json(meta));
  core::remove_tree(final_folder_);
  core::rename_durable(staging_, final_folder_);
}

struct TokenCache::Impl {
  core::MappedFile ids, trained, offsets, labels, kept;
  std::string key;
  DatasetTotals totals;
  std::vector<DatasetTotals> source_totals;
  std::vector<int64_t> source_begins = {0};

  template <typename T>
  static std::span<const T> view(const core::MappedFile& file) {
    return {reinterpret_cast<const T*>(file.bytes().data()), file.bytes().size() / sizeof(T)};
  }
  uint64_t offset(int64_t row) const { return view<uint64_t>(offsets)[static_cast<size_t>(row)]; }
};

TokenCache TokenCache::open(const fs::path& folder) {
  auto impl = std::make_shared<Impl>();
  const auto damaged = [&](const std::string& what) {
    core::fail(ErrorKind::kBadInput, {.what = "token cache is damaged: " + what,
                                      .where = folder.string(),
                                      .hint = "remove this folder; it will be built again"});
  };
  const Json meta = core::read_json_file(folder / "meta.json");
  try {
    if (meta.at("version") != kVersion) damaged("unknown version");
    impl->key = meta.at("key");
    for (const Json& source : meta.at("sources")) {
      impl->source_totals.push_back(totals_from_json(source));
      impl->totals.add(impl->source_totals.back());
      impl->source_begins.push_back(impl->totals.num_rows);
    }
  } catch (const Json::exception& e) {
    damaged(std::string("meta.json: ") + e.what());
  }
  impl->ids = core::MappedFile(folder / "ids.bin");
  impl->trained = core::MappedFile(folder / "trained.bin");
  impl->offsets = core::MappedFile(folder / "offsets.bin");
  impl->labels = core::MappedFile(folder / "labels.bin");
  impl->kept = core::MappedFile(folder / "kept.bin");
  const auto num_rows = static_cast<size_t>(impl->totals.num_rows);
  const auto num_tokens = static_cast<size_t>(impl->totals.num_tokens);
  if (impl->offsets.bytes().size() != (num_rows + 1) * sizeof(uint64_t))
    damaged("size of offsets.bin");
  if (impl->labels.bytes().size() != num_rows * sizeof(uint32_t)) damaged("size of labels.bin");
  if (impl->ids.bytes().size() != num_tokens * sizeof(int32_t)) damaged("size of ids.bin");
  if (impl->trained.bytes().size() != num_tokens) damaged("size of trained.bin");
  const auto kept = Impl::view<uint64_t>(impl->kept);
  if (kept.size() > num_rows || (!kept.empty() && kept.back() >= num_rows)) damaged("kept.bin");
  const auto offsets = Impl::view<uint64_t>(impl->offsets);
  for (size_t i = 0; i < num_rows; ++i) {
    if (offsets[i] > offsets[i + 1]) damaged("offsets.bin is not sorted");
  }
  if (offsets.front() != 0 || offsets.back() != num_tokens) damaged("ends of offsets.bin");
  TokenCache cache;
  cache.impl_ = std::move(impl);
  return cache;
}

int64_t TokenCache::num_rows() const { return impl_->totals.num_rows; }

TokenRow TokenCache::row(int64_t index) const {
  const uint64_t begin = impl_->offset(index), size = impl_->offset(index + 1) - begin;
  return {Impl::view<int32_t>(impl_->ids).subspan(begin, size),
          Impl::view<uint8_t>(impl_->trained).subspan(begin, size)};
}

int64_t TokenCache::num_row_tokens(int64_t index) const {
  return static_cast<int64_t>(impl_->offset(index + 1) - impl_->offset(index));
}

int64_t TokenCache::num_row_trained(int64_t index) const {
  return Impl::view<uint32_t>(impl_->labels)[static_cast<size_t>(index)];
}

std::span<const uint64_t> TokenCache::kept_rows() const {
  return Impl::view<uint64_t>(impl_->kept);
}

const DatasetTotals& TokenCache::totals() const { return impl_->totals; }
const std::vector<DatasetTotals>& TokenCache::source_totals() const { return impl_->source_totals; }
int64_t TokenCache::num_sources() const {
  return static_cast<int64_t>(impl_->source_totals.size());
}
int64_t TokenCache::source_begin(int64_t source) const {
  return impl_->source_begins[static_cast<size_t>(source)];
}

int64_t TokenCache::source_of(int64_t row) const {
  const auto& begins = impl_->source_begins;
  return std::ranges::upper_bound(begins, row) - begins.begin() - 1;
}

const std::string& TokenCache::key() const { return impl_->key; }

}  // namespace hone::data
