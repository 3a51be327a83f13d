#include "hub/database.h"

#include <sqlite3.h>

#include <initializer_list>
#include <memory>

#include "core/error.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

constexpr int kSchemaVersion = 1;
constexpr int kBusyMilliseconds = 20'000;
constexpr const char* kSchema = R"(
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS repos (
  kind TEXT NOT NULL, id TEXT NOT NULL, private INTEGER NOT NULL,
  created INTEGER NOT NULL DEFAULT (unixepoch()), PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS commits (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, branch TEXT NOT NULL,
  sha TEXT NOT NULL, author TEXT NOT NULL, created INTEGER NOT NULL DEFAULT (unixepoch()));
CREATE TABLE IF NOT EXISTS users (
  name TEXT PRIMARY KEY, created INTEGER NOT NULL DEFAULT (unixepoch()));
PRAGMA user_version = 1;
COMMIT;
)";

[[noreturn]] void fail_sqlite(sqlite3* connection, const std::filesystem::path& path) {
  core::fail(ErrorKind::kIo, {.what = std::string("database error: ") + sqlite3_errmsg(connection),
                              .where = path.string()});
}

void execute(sqlite3* connection, const std::filesystem::path& path, const char* sql) {
  if (sqlite3_exec(connection, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    fail_sqlite(connection, path);
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// A prepared statement with its text and integer arguments bound.
class Statement {
 public:
  Statement(sqlite3* connection, const std::filesystem::path& path, const char* sql,
            std::initializer_list<std::string> arguments)
      : connection_(connection), path_(path) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(connection, sql, -1, &statement, nullptr) != SQLITE_OK) {
      fail_sqlite(connection, path);
    }
    statement_.reset(statement);
    int position = 0;
    for (const std::string& text : arguments) {
      sqlite3_bind_text(statement, ++position, text.c_str(), -1, SQLITE_TRANSIENT);
    }
  }
  // True while there is a row.
  bool step() {
    const int code = sqlite3_step(statement_.get());
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail_sqlite(connection_, path_);
    return code == SQLITE_ROW;
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::string text(int column) const {
    return reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  }

 private:
  sqlite3* connection_;
  const std::filesystem::path& path_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

std::string name_of(RepoKind kind) { return std::string(plural(kind)); }

}  // namespace

Database::Database(const std::filesystem::path& path) : path_(path) {
  if (sqlite3_open_v2(path.c_str(), &connection_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                      nullptr) != SQLITE_OK) {
    const std::string reason =
        connection_ != nullptr ? sqlite3_errmsg(connection_) : "out of memory";
    sqlite3_close(connection_);
    core::fail(ErrorKind::kIo,
               {.what = "can't open the database: " + reason, .where = path.string()});
  }
  try {
    sqlite3_busy_timeout(connection_, kBusyMilliseconds);
    int64_t version = 0;
    {
      Statement statement(connection_, path_, "PRAGMA user_version", {});
      if (statement.step()) version = statement.integer(0);
    }
    if (version > kSchemaVersion) {
      core::fail(ErrorKind::kBadInput, {.what = "the database was written by a newer hone",
                                        .where = path.string(),
                                        .got = "schema " + std::to_string(version),
                                        .expected = "schema " + std::to_string(kSchemaVersion)});
    }
    if (version < kSchemaVersion) {
      execute(connection_, path_, "PRAGMA journal_mode = WAL");
      execute(connection_, path_, kSchema);
    }
  } catch (...) {
    sqlite3_close(connection_);
    throw;
  }
}

Database::~Database() { sqlite3_close(connection_); }

void Database::add_repo(RepoKind kind, const std::string& id, bool is_private) {
  Statement(connection_, path_, "INSERT OR IGNORE INTO repos (kind, id, private) VALUES (?, ?, ?)",
            {name_of(kind), id, is_private ? "1" : "0"})
      .step();
}

void Database::set_private(RepoKind kind, const std::string& id, bool is_private) {
  Statement(connection_, path_,
            "INSERT INTO repos (kind, id, private) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET private = excluded.private",
            {name_of(kind), id, is_private ? "1" : "0"})
      .step();
}

bool Database::is_private(RepoKind kind, const std::string& id) const {
  Statement statement(connection_, path_, "SELECT private FROM repos WHERE kind = ? AND id = ?",
                      {name_of(kind), id});
  return !statement.step() || statement.integer(0) != 0;
}

void Database::log_commit(RepoKind kind, const std::string& id, const std::string& branch,
                          const std::string& commit, const std::string& author) {
  Statement(connection_, path_,
            "INSERT INTO commits (kind, id, branch, sha, author) VALUES (?, ?, ?, ?, ?)",
            {name_of(kind), id, branch, commit, author})
      .step();
}

int64_t Database::count_commits(RepoKind kind, const std::string& id) const {
  Statement statement(connection_, path_, "SELECT count(*) FROM commits WHERE kind = ? AND id = ?",
                      {name_of(kind), id});
  return statement.step() ? statement.integer(0) : 0;
}

bool Database::add_user(const std::string& name) {
  Statement(connection_, path_, "INSERT OR IGNORE INTO users (name) VALUES (?)", {name}).step();
  return sqlite3_changes(connection_) > 0;
}

std::vector<UserInfo> Database::users() const {
  Statement statement(connection_, path_, "SELECT name, created FROM users ORDER BY name", {});
  std::vector<UserInfo> users;
  while (statement.step()) users.push_back({statement.text(0), statement.integer(1)});
  return users;
}

}  // namespace hone::hub
