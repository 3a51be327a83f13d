// The verbs of `hone-train`. Each adds itself to the command line; results go to stdout.
#pragma once

#include "recipes/program.h"

namespace hone::recipes {

void add_train(CLI::App& app, Action& chosen);
void add_generate(CLI::App& app, Action& chosen);
void add_eval(CLI::App& app, Action& chosen);
void add_merge(CLI::App& app, Action& chosen);
void add_check(CLI::App& app, Action& chosen);  // check invariance
void add_export(CLI::App& app, Action& chosen);

}  // namespace hone::recipes
