// The verbs of `hone` that need no tensors. Each adds itself to the command line; results go to
// stdout.
#pragma once

#include "recipes/program.h"

namespace hone::recipes {

void add_validate(CLI::App& app, Action& chosen);
void add_plan(CLI::App& app, Action& chosen);
void add_recipe(CLI::App& app, Action& chosen);  // recipe schema | docs
void add_data(CLI::App& app, Action& chosen);    // data show
void add_import(CLI::App& app, Action& chosen);
void add_push(CLI::App& app, Action& chosen);
void add_pull(CLI::App& app, Action& chosen);
void add_report(CLI::App& app, Action& chosen);
void add_reproduce(CLI::App& app, Action& chosen);
void add_launch(CLI::App& app, Action& chosen);
void add_hub(CLI::App& app, Action& chosen);  // hub ls | history | user

}  // namespace hone::recipes
