#include "parallel/liveness/message.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hone::parallel {
namespace {

TEST(PeerMessage, ArrivesAsItWasSentInPiecesOfAnySize) {
  FlightRecord record;
  record.set_step(4);
  record.begin_action("forward layers.3 of micro-batch 2");
  record.begin_call("dp_shard", 1482, "all_reduce sum of 12 float32");
  std::string stream = encode({.kind = MessageKind::kHello, .secret = "s", .rank = 3});
  stream += encode({.kind = MessageKind::kBeat, .status = record.status()});
  stream += encode(
      {.kind = MessageKind::kLost,
       .loss = {
           .rank = 2, .kind = LossKind::kSilent, .silent_seconds = 4.5, .last = record.status()}});
  stream += encode({.kind = MessageKind::kFailed,
                    .loss = {.rank = 1, .kind = LossKind::kFailed, .exit_code = 70, .what = "x"}});
  stream += encode({.kind = MessageKind::kBye});
  for (const size_t piece : {size_t{1}, size_t{7}, stream.size()}) {
    MessageReader reader;
    std::vector<PeerMessage> got;
    for (size_t at = 0; at < stream.size(); at += piece) {
      reader.add(std::string_view(stream).substr(at, piece));
      while (auto message = reader.next()) got.push_back(*message);
    }
    ASSERT_EQ(got.size(), 5u);
    EXPECT_EQ(got[0].secret, "s");
    EXPECT_EQ(got[0].rank, 3);
    EXPECT_EQ(describe(got[1].status.call),
              "all_reduce sum of 12 float32, number 1482 of dp_shard");
    EXPECT_EQ(got[2].loss.rank, 2);
    EXPECT_EQ(got[2].loss.kind, LossKind::kSilent);
    EXPECT_EQ(got[2].loss.silent_seconds, 4.5);
    EXPECT_EQ(describe(got[2].loss.last.action), "forward layers.3 of micro-batch 2");
    EXPECT_EQ(got[3].loss.exit_code, 70);
    EXPECT_EQ(got[3].loss.what, "x");
    EXPECT_EQ(got[4].kind, MessageKind::kBye);
  }
}

TEST(PeerMessage, WhatNoRankSendsIsAnErrorAndTakesNoMemory) {
  const auto framed = [](const std::string& text) {
    return std::string{static_cast<char>(text.size()), '\0', '\0', '\0'} + text;
  };
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff"), std::string("GET / HTTP/1.1"), framed("{}"), framed("[1]"),
        framed("{\"kind\":\"lost\",\"loss\":{}}"), framed("{\"kind\":\"other\"}"),
        framed("{\"kind\":\"hello\"}"), framed("nonsense")}) {
    MessageReader reader;
    reader.add(bytes);
    EXPECT_THROW(reader.next(), core::Error) << bytes;
  }
}

TEST(PeerMessage, AnyTextOfAnErrorFits) {
  MessageReader reader;
  reader.add(encode({.kind = MessageKind::kFailed,
                     .loss = {.rank = 1, .what = std::string(100'000, '\x01') + "\xff"}}));
  EXPECT_EQ(reader.next()->loss.what.size(), 2000u);
}

}  // namespace
}  // namespace hone::parallel
