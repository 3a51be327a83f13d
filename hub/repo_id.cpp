#include "hub/repo_id.h"

#include <git2.h>

#include <algorithm>

#include "core/error.h"
#include "hub/git.h"

namespace hone::hub {
namespace {

constexpr size_t kMaxIdChars = 96;

bool is_id_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool is_lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

std::string part_problem(std::string_view part) {
  if (part.empty()) return "a part is empty";
  if (!std::all_of(part.begin(), part.end(), is_id_char)) {
    return "only letters, digits, '.', '_' and '-' are allowed";
  }
  if (part.front() == '-' || part.front() == '.' || part.back() == '-' || part.back() == '.') {
    return "a part starts or ends with '-' or '.'";
  }
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) {
    return "'--' and '..' are not allowed";
  }
  if (part.ends_with(".git")) return "it ends with '.git'";
  return "";
}

}  // namespace

std::string_view plural(RepoKind kind) { return kind == RepoKind::kModel ? "models" : "datasets"; }

std::string repo_id_problem(std::string_view id, bool owner_required) {
  if (id.empty()) return "it is empty";
  if (id.size() > kMaxIdChars) return "it is longer than 96 characters";
  const size_t slash = id.find('/');
  if (slash == std::string_view::npos) {
    return owner_required ? "it has no owner: write owner/name" : part_problem(id);
  }
  if (id.find('/', slash + 1) != std::string_view::npos) return "it has more than one '/'";
  const std::string problem = part_problem(id.substr(0, slash));
  return problem.empty() ? part_problem(id.substr(slash + 1)) : problem;
}

void check_repo_id(std::string_view id) {
  const std::string problem = repo_id_problem(id, /*owner_required=*/true);
  if (problem.empty()) return;
  core::fail(core::ErrorKind::kUsage, {.what = "not a repository id: " + problem,
                                       .got = "'" + std::string(id) + "'",
                                       .expected = "owner/name, for example me/my-model"});
}

void check_branch_or_tag(std::string_view name) {
  ensure_libgit2();
  const std::string text(name);
  int is_valid = 0;
  git_reference_name_is_valid(&is_valid, ("refs/heads/" + text).c_str());
  const bool has_nul = name.find('\0') != std::string_view::npos;
  if (is_valid == 1 && !has_nul && !name.starts_with("-") && !name.starts_with("refs/") &&
      name != "HEAD" && !is_commit_id(name)) {
    return;
  }
  core::fail(core::ErrorKind::kUsage,
             {.what = "not a branch or tag name",
              .got = "'" + text + "'",
              .expected = "a name git accepts, without spaces, not a commit id, for example v1.0"});
}

bool is_commit_id(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), is_lower_hex);
}

std::string flat_name(std::string_view id) {
  std::string flat(id);
  const size_t slash = flat.find('/');
  if (slash != std::string::npos) flat.replace(slash, 1, "--");
  return flat;
}

IdAndRevision split_revision(std::string_view text) {
  const size_t at = text.rfind('@');
  if (at == std::string_view::npos) return {std::string(text), "main"};
  if (at == 0 || at + 1 == text.size()) {
    core::fail(core::ErrorKind::kUsage, {.what = "an id or a revision is missing beside '@'",
                                         .got = "'" + std::string(text) + "'",
                                         .expected = "ID@REVISION, for example me/my-model@v1.0"});
  }
  return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

}  // namespace hone::hub
