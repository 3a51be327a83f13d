#include "recipes/contamination_check.h"

#include <spdlog/spdlog.h>

#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"
#include "recipes/eval_split.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;

std::optional<data::Contamination> remembered(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  try {
    const Json json = core::read_json_file(path);
    return data::Contamination{.num_eval_rows = json.at("eval_rows"),
                               .num_identical = json.at("identical"),
                               .num_overlapping = json.at("overlapping"),
                               .rows = json.at("rows")};
  } catch (const std::exception&) {
    return std::nullopt;  // made again
  }
}

std::string count(int64_t value) { return core::format_count(static_cast<uint64_t>(value)); }

}  // namespace

data::Contamination check_contamination(const data::TokenCache& train, const data::TokenCache& eval,
                                        const fs::path& cache_root) {
  const std::string key = core::sha256_hex("contamination 1 " + train.key() + " " + eval.key());
  const fs::path path = cache_root / "contamination" / (key.substr(0, 32) + ".json");
  if (auto found = remembered(path)) return std::move(*found);
  data::Contamination found = data::find_contamination(train, eval);
  core::make_folders(path.parent_path());
  core::write_file_atomic(path, Json{{"eval_rows", found.num_eval_rows},
                                     {"identical", found.num_identical},
                                     {"overlapping", found.num_overlapping},
                                     {"rows", found.rows}}
                                    .dump());
  return found;
}

std::string contamination_text(const data::Contamination& found) {
  return count(static_cast<int64_t>(found.rows.size())) + " of " + count(found.num_eval_rows) +
         " evaluation rows also stand in the training data (" + count(found.num_identical) +
         " identical, " + count(found.num_overlapping) +
         " with at least half of their trained tokens in runs of " +
         std::to_string(data::kContaminationTokens) + " copied tokens)";
}

data::TokenCache apply_contamination_policy(ContaminationPolicy policy,
                                            const data::Contamination& found,
                                            const data::TokenCache& eval,
                                            const fs::path& cache_root) {
  if (found.rows.empty() || policy == ContaminationPolicy::kOff) return eval;
  const std::string first = "; the first is evaluation row " + std::to_string(found.rows[0]);
  if (policy == ContaminationPolicy::kError) {
    core::fail(
        core::ErrorKind::kBadInput,
        {.what = contamination_text(found) + first,
         .where = "eval_contamination: error",
         .hint = "take them out of one of the two, or set eval_contamination to drop or warn"});
  }
  if (policy == ContaminationPolicy::kWarn) {
    spdlog::warn("{}{}: the held-out loss will look too good", contamination_text(found), first);
    return eval;
  }
  std::vector<bool> chosen(static_cast<size_t>(eval.num_rows()), true);
  for (const int64_t row : found.rows) chosen[static_cast<size_t>(row)] = false;
  if (found.rows.size() == chosen.size()) {
    core::fail(core::ErrorKind::kBadInput,
               {.what = contamination_text(found), .hint = "no row is left to evaluate on"});
  }
  spdlog::warn("{}: left out of the evaluation", contamination_text(found));
  const std::string rows = core::sha256_hex(Json(found.rows).dump());
  return select_rows(eval, chosen, ":clean:" + rows, cache_root);
}

}  // namespace hone::recipes
