// Names a store accepts: repository ids, branches, tags and revisions. Rules as the Hugging Face
// hub's.
#pragma once

#include <string>
#include <string_view>

namespace hone::hub {

enum class RepoKind { kModel, kDataset };

// "models" or "datasets": the folder of a store, and the prefix of a cache folder.
std::string_view plural(RepoKind kind);

// Why `id` is no repository id, or "" if it is one: `name` or `owner/name`, each part of
// [A-Za-z0-9._-], at most 96 characters in all, no "--" or "..", no leading or trailing '-' or '.',
// no ".git" at the end. A store needs the owner.
std::string repo_id_problem(std::string_view id, bool owner_required);
// Throws kUsage with that reason.
void check_repo_id(std::string_view id);

// Throws kUsage unless git accepts the name, and it can't be mistaken for an option or a commit id.
void check_branch_or_tag(std::string_view name);

bool is_commit_id(std::string_view text);  // 40 lower-case hex characters

// "owner--name": unambiguous, because an id holds no "--".
std::string flat_name(std::string_view id);

struct IdAndRevision {
  std::string id;
  std::string revision;  // "main" when none was written
};
// Splits "ID@REVISION" at the last '@'.
IdAndRevision split_revision(std::string_view text);

}  // namespace hone::hub
