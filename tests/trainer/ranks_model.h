// A model that was trained a little, on one rank or on those of a layout: for tests of what is only
// computed with it.
#pragma once

#include <string>

#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "tests/trainer/support.h"
#include "trainer/gather.h"

namespace hone::trainer {

// One document of which all tokens but the first are trained.
data::MicroBatch one_document(int64_t num_tokens, int64_t vocab_size);

class ModelFolder {
 public:
  // "tiny-chat" or "made/X" (made_model.h), with an adapter of every linear layer, embedding and
  // head whose B is not zero.
  explicit ModelFolder(const std::string& name);

  // What this rank has of it; the stages of a pipeline are cut for rows of 64 tokens. Not
  // collective.
  models::Model load(const parallel::Mesh& mesh, bool lora, bool train_base = false,
                     int64_t level = parallel::kShardParameters,
                     at::ScalarType dtype = at::kFloat) const;

 private:
  fs::path adapter() const { return made_.path() / "adapter"; }
  void make_adapter() const;

  TempFolder made_;
  fs::path base_;
};

}  // namespace hone::trainer
