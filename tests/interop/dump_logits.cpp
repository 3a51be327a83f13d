// What our forward says, for a comparison outside.
// Usage: dump_logits MODEL_FOLDER ADAPTER_FOLDER|- INPUT.safetensors OUTPUT.safetensors
// INPUT: input_ids, position_ids, labels [T] int64, cu_doc_lens [documents + 1] int32. OUTPUT:
// logits [T, V] float32.
#include <cstdio>
#include <exception>
#include <string>

#include "tests/support/model_run.h"

int main(int argc, char** argv) try {
  using namespace hone::models;
  if (argc != 5) {
    std::fputs("usage: dump_logits MODEL_FOLDER ADAPTER_FOLDER|- INPUT OUTPUT\n", stderr);
    return 64;
  }
  LoadOptions options;
  if (std::string(argv[2]) != "-") options.adapter_path = argv[2];
  const Model model = load_model(argv[1], options);
  const Batch batch = golden_batch(model, read_tensors(argv[3]));
  write_tensors(argv[4], {{"logits", all_logits(model, batch)}});
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
