#include "parallel/message_queues.h"

#include <gtest/gtest.h>

namespace hone::parallel {
namespace {

constexpr Channel kUp{.from = 0, .to = 1}, kBack{.from = 1, .to = 0};
constexpr Channel kGradients{.from = 1, .to = 0, .is_gradient = true};

TEST(MessageQueues, ASendIsOpenUntilItsReceiveStarts) {
  MessageQueues queues(MessagePaths::kOneQueue);
  queues.start_send(kUp);
  EXPECT_EQ(queues.num_done(kUp), 0U);
  EXPECT_TRUE(queues.has_open_sends(0));
  EXPECT_FALSE(queues.has_open_sends(1));
  queues.start_receive(kUp);
  EXPECT_EQ(queues.num_done(kUp), 1U);
  EXPECT_FALSE(queues.has_open_sends(0));
}

// Each rank first receives: in one queue both wait forever.
TEST(MessageQueues, ASendWaitsBehindAReceiveOfItsQueueOnly) {
  const auto cross = [](MessagePaths paths, const Channel& back) {
    MessageQueues queues(paths);
    queues.start_receive(back);
    queues.start_receive(kUp);
    queues.start_send(kUp);
    queues.start_send(back);
    return queues.num_done(kUp) + queues.num_done(back);
  };
  EXPECT_EQ(cross(MessagePaths::kOneQueue, kGradients), 0U);
  EXPECT_EQ(cross(MessagePaths::kQueueForKind, kGradients), 2U);
  EXPECT_EQ(cross(MessagePaths::kQueueForKind, kBack), 0U);
  EXPECT_EQ(cross(MessagePaths::kQueueForLink, kBack), 2U);
}

TEST(MessageQueues, WhatBecomesFirstGoesOnByItself) {
  MessageQueues queues(MessagePaths::kOneQueue);
  constexpr Channel kFurther{.from = 1, .to = 2};
  queues.start_receive(kUp);
  queues.start_send(kFurther);
  queues.start_receive(kFurther);
  EXPECT_EQ(queues.num_done(kFurther), 0U);
  queues.start_send(kUp);
  EXPECT_EQ(queues.num_done(kUp), 1U);
  EXPECT_EQ(queues.num_done(kFurther), 1U);
}

}  // namespace
}  // namespace hone::parallel
