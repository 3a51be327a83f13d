#include "recipes/publish.h"

#include <spdlog/spdlog.h>

namespace hone::recipes {

std::string run_message(const Recipe& recipe, const hub::ResolvedRepo& base) {
  if (base.origin != hub::Origin::kFolder) return "Fine-tune " + recipe.model_name_or_path;
  return "Fine-tune " + std::filesystem::weakly_canonical(base.folder).filename().string();
}

hub::PushResult publish_run(const Recipe& recipe, const std::filesystem::path& folder,
                            const std::string& message) {
  hub::PushResult result = hub::publish(recipe.hub.endpoint, recipe.hub.model_id, folder,
                                        {.message = message,
                                         .branch = recipe.hub.branch,
                                         .create_pr = recipe.hub.create_pr,
                                         .is_private = recipe.hub.is_private});
  spdlog::info("{} {} files as {}@{} in {}", result.changed ? "pushed" : "nothing new in",
               result.files.size(), result.repo_id, result.commit.substr(0, 12), result.place);
  if (!result.pull_request.empty()) spdlog::info("pull request: {}", result.pull_request);
  return result;
}

}  // namespace hone::recipes
