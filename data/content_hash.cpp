#include <sys/stat.h>

#include <ctime>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "data/data_files.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::Json;
namespace {

// A file changed less than this ago may change again without its time changing: it is not
// remembered.
constexpr int64_t kSettledSeconds = 2;

struct FileStamp {
  int64_t size = 0, seconds = 0, nanoseconds = 0;
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) core::fail_errno("can't read", path.string(), errno);
  return {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

std::string remembered(const fs::path& memo, const FileStamp& stamp) {
  try {
    if (!fs::exists(memo)) return "";
    const Json json = core::read_json_file(memo);
    const FileStamp old{json.at("size"), json.at("mtime_seconds"), json.at("mtime_nanoseconds")};
    return old == stamp ? json.at("sha256").get<std::string>() : "";
  } catch (const std::exception&) {
    return "";  // a memo that can't be read is only a slower start
  }
}

}  // namespace

std::string content_hash(const fs::path& path, const fs::path& memo_folder) {
  const FileStamp stamp = stamp_of(path);
  const fs::path memo =
      memo_folder / (core::sha256_hex(fs::absolute(path).string()).substr(0, 32) + ".json");
  if (std::string hash = remembered(memo, stamp); !hash.empty()) return hash;
  std::string hash = core::sha256_file(path);
  if (stamp_of(path) == stamp && std::time(nullptr) - stamp.seconds >= kSettledSeconds) {
    core::make_folders(memo_folder);
    const Json json = {{"path", fs::absolute(path).string()},
                       {"size", stamp.size},
                       {"mtime_seconds", stamp.seconds},
                       {"mtime_nanoseconds", stamp.nanoseconds},
                       {"sha256", hash}};
    core::write_file_atomic(memo, core::dump_json(json));
  }
  return hash;
}

}  // namespace hone::data
