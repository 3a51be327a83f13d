#include "data/dataset.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/build_cache.h"
#include "data/data_files.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;
namespace {

constexpr int kKeyVersion = 2;

// Held by the one process that builds; others wait for it in the constructor.
class BuildLock {
 public:
  explicit BuildLock(const fs::path& path)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) core::fail_errno("can't create", path.string(), errno);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    spdlog::info("waiting for another process that builds the token cache");
    while (::flock(descriptor_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error_number = errno;
      ::close(descriptor_);
      core::fail_errno("can't lock", path.string(), error_number);
    }
  }
  BuildLock(const BuildLock&) = delete;
  BuildLock& operator=(const BuildLock&) = delete;
  ~BuildLock() { ::close(descriptor_); }

 private:
  int descriptor_;
};

std::string cache_key(const std::vector<DatasetSource>& sources,
                      const std::vector<std::vector<fs::path>>& files,
                      const DatasetOptions& options, const Tokenizer& tokenizer,
                      const fs::path& memo_folder) {
  Json parts = Json::array();
  for (size_t s = 0; s < sources.size(); ++s) {
    Json hashes = Json::array(), columns = Json::array();
    for (const fs::path& file : files[s]) {
      hashes.push_back(content_hash(file, memo_folder) + file.stem().extension().string() +
                       file.extension().string());
    }
    for (const auto& [ours, theirs] : sources[s].columns) columns.push_back({ours, theirs});
    parts.push_back({{"files", hashes},
                     {"format", static_cast<int>(sources[s].format)},
                     {"columns", columns},
                     {"max_rows", sources[s].max_rows},
                     {"sample_by", static_cast<int>(sources[s].sample_by)}});
  }
  const Json key = {{"version", kKeyVersion},
                    {"tokenizer", tokenizer.fingerprint()},
                    {"sources", parts},
                    {"max_length", options.max_length},
                    {"assistant_only_loss", options.assistant_only_loss},
                    {"completion_only_loss", options.completion_only_loss},
                    {"system_prompt", options.system_prompt},
                    {"on_bad_row", static_cast<int>(options.on_bad_row)},
                    {"max_bad_rows", options.max_bad_rows},
                    {"deduplicate", options.deduplicate}};
  return core::sha256_hex(key.dump());
}

void check_template(const std::vector<DatasetSource>& sources, const Tokenizer& tokenizer) {
  if (tokenizer.has_chat_template()) return;
  for (const DatasetSource& source : sources) {
    if (source.format != RowFormat::kMessages && source.format != RowFormat::kShareGpt) continue;
    core::fail(ErrorKind::kBadInput,
               {.what = "conversations need a chat template, and the model's tokenizer has none",
                .where = source.where.empty() ? source.path.string() : source.where,
                .hint = "put one into chat_template.jinja of the model folder, or use format: "
                        "prompt_completion"});
  }
}

bool open_if_whole(const fs::path& folder, TokenCache& cache) {
  if (!fs::exists(folder / "meta.json")) return false;
  try {
    cache = TokenCache::open(folder);
    return true;
  } catch (const core::Error& error) {
    spdlog::warn("{}; building it again", error.what());
    return false;
  }
}

// What a killed build left; called with the lock held.
void remove_leftovers(const fs::path& folder) {
  const std::string prefix = folder.filename().string() + ".building.";
  for (const auto& entry : fs::directory_iterator(folder.parent_path())) {
    if (entry.path().filename().string().starts_with(prefix)) core::remove_tree(entry.path());
  }
}

}  // namespace

TokenCache prepare_dataset(const std::vector<DatasetSource>& sources, const DatasetOptions& options,
                           const Tokenizer& tokenizer, const fs::path& cache_root,
                           const Progress& progress) {
  if (options.max_length < 2) {
    core::fail(ErrorKind::kBadInput, {.what = "max_length is too small",
                                      .got = std::to_string(options.max_length),
                                      .expected = "at least 2"});
  }
  check_template(sources, tokenizer);
  std::vector<std::vector<fs::path>> files;
  for (const DatasetSource& source : sources) files.push_back(resolve_files(source));
  core::make_folders(cache_root);
  const std::string key = cache_key(sources, files, options, tokenizer, cache_root / "content");
  const fs::path folder = cache_root / key.substr(0, 32);
  TokenCache cache;
  if (open_if_whole(folder, cache)) return cache;
  const BuildLock lock(cache_root / (key.substr(0, 32) + ".lock"));
  if (open_if_whole(folder, cache)) return cache;
  remove_leftovers(folder);
  build_token_cache(sources, files, options, tokenizer, folder, key, progress);
  return TokenCache::open(folder);
}

}  // namespace hone::data
