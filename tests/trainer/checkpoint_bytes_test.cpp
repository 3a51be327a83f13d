#include "trainer/checkpoint_bytes.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/trainer/small_run.h"

namespace hone::trainer {
namespace {

TEST(CheckpointBytes, AreThoseThatASaveWrites) {
  for (const bool lora : {false, true}) {
    for (const std::string save_dtype : {"", "BF16"}) {
      SCOPED_TRACE((lora ? "LoRA " : "full ") + save_dtype);
      SmallRun run(lora);
      run.options.max_steps = 1;
      run.options.save_dtype = save_dtype;
      models::Model model = tiny_model(lora);
      const SavedBytes saved = saved_bytes(model, save_dtype);
      run.train(model);
      EXPECT_EQ(saved.checkpoint(), run.run_json().at("saves").at(0).at("bytes"));
      EXPECT_GT(saved.model, 0);
      EXPECT_GE(saved.state, 2 * saved.model) << "two moments in float32 at least";
    }
  }
}

TEST(CheckpointBytes, ADiskWithoutRoomIsAnErrorWithBothFigures) {
  const TempFolder folder;
  const int64_t free = free_bytes(folder.path());
  EXPECT_GT(free, 0);
  EXPECT_NO_THROW(require_room(folder.path(), {.model = 10, .state = 20}, 1));
  try {
    require_room(folder.path(), {.model = free / 2, .state = free}, 1);
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kIo);
    EXPECT_NE(std::string(error.what()).find("no room for a checkpoint"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(folder.path().string()), std::string::npos);
  }
  EXPECT_THROW(free_bytes(folder.path() / "absent"), core::Error);
}

}  // namespace
}  // namespace hone::trainer
