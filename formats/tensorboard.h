// Event files that TensorBoard reads: TFRecord framing with masked CRC-32C around
// `tensorflow.Event` messages (tensorboard/compat/proto/event.proto, summary.proto;
// plugins/hparams/plugin_data.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone::formats {

// What an event says, without when: the fields of its message after wall_time. Equal content has
// equal bytes.
using EventContent = std::string;

EventContent file_version_content();  // has to be the first of a file
// TensorBoard drops what it read before of this step and later ones.
EventContent session_start_content(int64_t step);

struct ScalarValue {
  std::string tag;   // "train/loss"; the part before the first '/' is a group of charts
  double value = 0;  // kept as float32, the type scalars have for every reader
};
EventContent scalars_content(int64_t step, const std::vector<ScalarValue>& scalars);

// A table with two columns, name and text, in the TEXT tab.
EventContent text_content(int64_t step, const std::string& tag,
                          const std::vector<std::pair<std::string, std::string>>& rows);

using HyperParameter = std::variant<bool, double, std::string>;
enum class SessionStatus { kUnknown = 0, kSuccess = 1, kFailure = 2, kRunning = 3 };

// A row of the HPARAMS tab. Its metrics are the last scalars of the same folder.
EventContent hparams_start_content(
    const std::vector<std::pair<std::string, HyperParameter>>& parameters, double start_time);
EventContent hparams_end_content(SessionStatus status, double end_time);

struct TensorBoardEvent {
  double wall_time = 0;  // seconds since 1970
  EventContent content;
};

// The record of a file that holds the event.
std::string encode_record(const TensorBoardEvent& event);

// The events of a file that encode_record made, up to its end or the first record that is torn or
// damaged. Throws kMissingInput.
std::vector<TensorBoardEvent> read_event_file(const std::filesystem::path& path);

// A file being written. Every append goes to the system at once, so that a TensorBoard that looks
// on shows it.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& path);  // must not be there; throws kIo
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  void append(const TensorBoardEvent& event);  // throws kIo

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace hone::formats
