// The verbs that need tensors live in the program hone-train.
#pragma once

#include "recipes/program.h"

namespace hone::recipes {

bool is_train_verb(const std::string& verb);

// Names the verbs, so that --help lists them and a typo is told from them.
void add_train_verbs(CLI::App& app, Action& chosen);

// Becomes hone-train (from the folder of this program, else from PATH) with the same arguments: no
// fork, so mpirun and srun see one process. Returns the exit code only when that fails.
int exec_train(char** argv);

}  // namespace hone::recipes
