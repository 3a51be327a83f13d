// hone-train: the verbs that need tensors. `hone` becomes this program for them.
#include "recipes/program.h"
#include "recipes/train/verbs.h"

int main(int argc, char** argv) {
  using namespace hone::recipes;
  return run_program(argc, argv, "Fine-tune hub checkpoints from a YAML recipe",
                     {add_train, add_generate, add_eval, add_merge, add_export, add_check});
}
