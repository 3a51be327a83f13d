#include "formats/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"

namespace hone::formats {
namespace {

static_assert(std::endian::native == std::endian::little);

// Field numbers of tensorflow.Event.
constexpr uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr size_t kWallTimeSize = 9;  // its key and a double

ProtobufMessage event(int64_t step) { return ProtobufMessage().integer(kStep, step); }

EventContent summary_content(int64_t step, const ProtobufMessage& summary) {
  return event(step).message(kSummary, summary).encoded();
}

// Summary.Value.metadata: which plugin shows the value.
ProtobufMessage plugin_metadata(const std::string& plugin, std::string_view content) {
  constexpr int64_t kDataClassTensor = 2;
  const ProtobufMessage data = ProtobufMessage().bytes(1, plugin).bytes(2, content);
  return ProtobufMessage().message(1, data).integer(4, kDataClassTensor);
}

// The HPARAMS tab reads the metadata alone; a value has to be there for it to be kept.
EventContent hparams_content(const std::string& tag, const ProtobufMessage& plugin_data) {
  constexpr int64_t kDtFloat = 1;
  const ProtobufMessage nothing =
      ProtobufMessage().integer(1, kDtFloat).message(2, {}).float32(5, 0);
  const ProtobufMessage value = ProtobufMessage()
                                    .bytes(1, tag)
                                    .message(9, plugin_metadata("hparams", plugin_data.encoded()))
                                    .message(8, nothing);
  return summary_content(0, ProtobufMessage().message(1, value));
}

// google.protobuf.Value
ProtobufMessage encode_value(const HyperParameter& parameter) {
  ProtobufMessage value;
  if (const auto* number = std::get_if<double>(&parameter)) {
    value.float64(2, *number);
  } else if (const auto* text = std::get_if<std::string>(&parameter)) {
    value.bytes(3, *text);
  } else {
    value.integer(4, std::get<bool>(parameter) ? 1 : 0);
  }
  return value;
}

std::string little_endian(uint64_t value, size_t num_bytes) {
  std::string bytes(num_bytes, '\0');
  std::memcpy(bytes.data(), &value, num_bytes);
  return bytes;
}

// Stored checksums are masked, so that a checksum over data that holds checksums stays a good one.
std::string masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return little_endian(((crc >> 15) | (crc << 17)) + 0xA282EAD8u, 4);
}

// Takes the next record's payload off `bytes`; false at the end or where the rest is no record.
bool take_record(std::string_view& bytes, std::string_view& payload) {
  if (bytes.size() < 16) return false;
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  if (size > bytes.size() - 16 || bytes.substr(8, 4) != masked_crc(bytes.substr(0, 8)))
    return false;
  payload = bytes.substr(12, size);
  if (bytes.substr(12 + size, 4) != masked_crc(payload)) return false;
  bytes.remove_prefix(16 + size);
  return true;
}

}  // namespace

EventContent file_version_content() {
  return ProtobufMessage().bytes(kFileVersion, "brain.Event:2").encoded();
}

EventContent session_start_content(int64_t step) {
  constexpr int64_t kStart = 1;
  return event(step).message(kSessionLog, ProtobufMessage().integer(1, kStart)).encoded();
}

EventContent scalars_content(int64_t step, const std::vector<ScalarValue>& scalars) {
  ProtobufMessage summary;
  for (const ScalarValue& scalar : scalars) {
    summary.message(
        1, ProtobufMessage().bytes(1, scalar.tag).float32(2, static_cast<float>(scalar.value)));
  }
  return summary_content(step, summary);
}

EventContent text_content(int64_t step, const std::string& tag,
                          const std::vector<std::pair<std::string, std::string>>& rows) {
  constexpr int64_t kDtString = 7;
  const auto dimension = [](size_t size) {
    return ProtobufMessage().integer(1, static_cast<int64_t>(size));
  };
  ProtobufMessage shape, tensor;
  shape.message(2, dimension(rows.size())).message(2, dimension(2));
  tensor.integer(1, kDtString).message(2, shape);
  for (const auto& [name, text] : rows) tensor.bytes(8, name).bytes(8, text);
  const ProtobufMessage value =
      ProtobufMessage().bytes(1, tag).message(9, plugin_metadata("text", "")).message(8, tensor);
  return summary_content(step, ProtobufMessage().message(1, value));
}

EventContent hparams_start_content(
    const std::vector<std::pair<std::string, HyperParameter>>& parameters, double start_time) {
  ProtobufMessage start;
  for (const auto& [name, parameter] : parameters) {
    start.message(1, ProtobufMessage().bytes(1, name).message(2, encode_value(parameter)));
  }
  start.float64(5, start_time);
  return hparams_content("_hparams_/session_start_info", ProtobufMessage().message(3, start));
}

EventContent hparams_end_content(SessionStatus status, double end_time) {
  const ProtobufMessage end =
      ProtobufMessage().integer(1, static_cast<int64_t>(status)).float64(2, end_time);
  return hparams_content("_hparams_/session_end_info", ProtobufMessage().message(4, end));
}

std::string encode_record(const TensorBoardEvent& event) {
  const std::string payload =
      ProtobufMessage().float64(kWallTime, event.wall_time).encoded() + event.content;
  const std::string size = little_endian(payload.size(), 8);
  return size + masked_crc(size) + payload + masked_crc(payload);
}

std::vector<TensorBoardEvent> read_event_file(const std::filesystem::path& path) {
  const core::MappedFile file(path);
  std::string_view bytes = file.text(), payload;
  std::vector<TensorBoardEvent> events;
  while (take_record(bytes, payload) && payload.size() >= kWallTimeSize) {
    TensorBoardEvent event{.content = std::string(payload.substr(kWallTimeSize))};
    std::memcpy(&event.wall_time, payload.data() + 1, sizeof event.wall_time);
    events.push_back(std::move(event));
  }
  return events;
}

EventFile::EventFile(const std::filesystem::path& path)
    : path_(path),
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) core::fail_errno("can't create", path, errno);
}

EventFile::~EventFile() { ::close(descriptor_); }

void EventFile::append(const TensorBoardEvent& event) {
  const std::string record = encode_record(event);
  size_t done = 0;
  while (done < record.size()) {
    const ssize_t n = ::write(descriptor_, record.data() + done, record.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) core::fail_errno("can't write", path_, errno);
    done += static_cast<size_t>(n);
  }
}

}  // namespace hone::formats
