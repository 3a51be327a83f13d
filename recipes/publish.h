// Pushing what a run made to where its recipe says: a hub over HTTP or a local store.
#pragma once

#include <filesystem>
#include <string>

#include "hub/push.h"
#include "hub/resolve.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// "Fine-tune BASE": of a base that is a folder only its name, where it lies is nobody's business.
std::string run_message(const Recipe& recipe, const hub::ResolvedRepo& base);

// One push of `folder` by the recipe's hub keys; says in the log where it went. Throws what
// hub::publish throws.
hub::PushResult publish_run(const Recipe& recipe, const std::filesystem::path& folder,
                            const std::string& message);

}  // namespace hone::recipes
