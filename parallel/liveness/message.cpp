#include "parallel/liveness/message.h"

#include <array>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::Json;

constexpr std::array kKinds{"hello", "beat", "lost", "failed", "bye"};
constexpr std::array kLosses{"closed", "silent", "failed"};
constexpr size_t kLengthBytes = 4;
constexpr size_t kMaxWhat = 2000;

[[noreturn]] void fail_message(const std::string& what) {
  core::fail(core::ErrorKind::kBadInput, {.what = what, .where = "message of a rank"});
}

template <size_t N>
size_t number_of(const std::string& name, const std::array<const char*, N>& names) {
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return i;
  }
  fail_message("unknown kind '" + name + "'");
}

Json loss_json(const Loss& loss) {
  return {{"rank", loss.rank},
          {"kind", kLosses.at(static_cast<size_t>(loss.kind))},
          {"silent_seconds", loss.silent_seconds},
          {"exit_code", loss.exit_code},
          {"what", loss.what.substr(0, kMaxWhat)},
          {"last", flight_status_json(loss.last)}};
}

Loss loss_from(const Json& json) {
  return {.rank = json.at("rank"),
          .kind = static_cast<LossKind>(number_of(json.at("kind"), kLosses)),
          .silent_seconds = json.at("silent_seconds"),
          .exit_code = json.at("exit_code"),
          .what = json.at("what"),
          .last = flight_status_from(json.at("last"))};
}

PeerMessage message_from(const Json& json) {
  PeerMessage message;
  message.kind = static_cast<MessageKind>(number_of(json.at("kind"), kKinds));
  if (message.kind == MessageKind::kHello) {
    message.secret = json.at("secret");
    message.rank = json.at("rank");
  }
  if (json.contains("status")) message.status = flight_status_from(json["status"]);
  if (json.contains("loss")) message.loss = loss_from(json["loss"]);
  return message;
}

}  // namespace

std::string encode(const PeerMessage& message) {
  Json json{{"kind", kKinds.at(static_cast<size_t>(message.kind))}};
  switch (message.kind) {
    case MessageKind::kHello:
      json["secret"] = message.secret;
      json["rank"] = message.rank;
      break;
    case MessageKind::kBeat:
      json["status"] = flight_status_json(message.status);
      break;
    case MessageKind::kLost:
    case MessageKind::kFailed:
      json["loss"] = loss_json(message.loss);
      break;
    case MessageKind::kBye:
      break;
  }
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string bytes;
  for (size_t i = 0; i < kLengthBytes; ++i)
    bytes += static_cast<char>((text.size() >> (8 * i)) & 0xff);
  return bytes + text;
}

std::optional<PeerMessage> MessageReader::next() {
  if (bytes_.size() < kLengthBytes) return std::nullopt;
  size_t size = 0;
  for (size_t i = 0; i < kLengthBytes; ++i)
    size |= static_cast<size_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
  if (size > kMaxBytes) fail_message("its length is " + std::to_string(size) + " bytes");
  if (bytes_.size() < kLengthBytes + size) return std::nullopt;
  const std::string text = bytes_.substr(kLengthBytes, size);
  bytes_.erase(0, kLengthBytes + size);
  try {
    return message_from(core::parse_json(text, "message of a rank"));
  } catch (const Json::exception& error) {
    fail_message(error.what());
  }
}

}  // namespace hone::parallel
