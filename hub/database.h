// What the store knows beside git: visibility, users, and the order in which commits arrived. Git
// is the truth for files, commits and references; a lost database costs none of those.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/repo_id.h"

struct sqlite3;

namespace hone::hub {

struct UserInfo {
  std::string name;
  int64_t created = 0;  // seconds since 1970-01-01 UTC
};

// One connection to hub.db (SQLite, WAL), created with its tables when it is not there. Throws kIo,
// and kBadInput for a schema newer than this program.
class Database {
 public:
  explicit Database(const std::filesystem::path& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void add_repo(RepoKind kind, const std::string& id,
                bool is_private);  // no effect when it is there
  void set_private(RepoKind kind, const std::string& id, bool is_private);
  bool is_private(RepoKind kind, const std::string& id) const;  // true for an unknown one
  void log_commit(RepoKind kind, const std::string& id, const std::string& branch,
                  const std::string& commit, const std::string& author);
  int64_t count_commits(RepoKind kind, const std::string& id) const;  // those logged
  bool add_user(const std::string& name);                             // false when it is there
  std::vector<UserInfo> users() const;                                // by name

 private:
  std::filesystem::path path_;
  sqlite3* connection_ = nullptr;
};

}  // namespace hone::hub
