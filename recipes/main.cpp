// hone: everything that needs no tensors. Doesn't link LibTorch, so it starts in milliseconds.
#include "recipes/exec_train.h"
#include "recipes/verbs.h"

int main(int argc, char** argv) {
  using namespace hone::recipes;
  if (argc > 1 && is_train_verb(argv[1])) return exec_train(argv);
  return run_program(argc, argv, "Fine-tune hub checkpoints from a YAML recipe",
                     {add_validate, add_plan, add_data, add_train_verbs, add_launch, add_reproduce,
                      add_recipe, add_import, add_push, add_pull, add_hub, add_report});
}
