#include "parallel/comm/flight_record.h"

#include <algorithm>

#include "core/environment.h"
#include "core/error.h"
#include "core/text.h"

namespace hone::parallel {
namespace {

// The rest of `to` stays zero: what is read back ends somewhere.
template <size_t N>
void put(std::string_view text, std::array<char, N>& to) {
  to.fill('\0');
  size_t size = std::min(text.size(), N - 1);
  while (size < text.size() && size > 0 && core::continues_character(text[size])) --size;
  std::copy_n(text.data(), size, to.data());
}

FlightEntry entry_from(const core::Json& json) {
  FlightEntry entry;
  entry.number = json.value("number", int64_t{0});
  entry.step = json.value("step", int64_t{0});
  entry.sequence = json.value("sequence", int64_t{0});
  put(json.value("group", ""), entry.group);
  put(json.value("what", ""), entry.text);
  entry.began = json.value("began", 0.0);
  if (json.contains("ended") && json["ended"].is_number()) entry.ended = json["ended"];
  return entry;
}

}  // namespace

std::string describe(const FlightEntry& entry) {
  if (entry.number == 0) return "none";
  std::string text = entry.text.data();
  if (entry.is_call())
    text += ", number " + std::to_string(entry.sequence) + " of " + entry.group.data();
  return text;
}

FlightRecord::FlightRecord(size_t capacity) : ring_(std::max<size_t>(1, capacity)) {}

void FlightRecord::set_step(int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
}

int64_t FlightRecord::begin_action(std::string_view text) { return begin("", 0, text); }

int64_t FlightRecord::begin_call(std::string_view group, int64_t sequence, std::string_view text) {
  return begin(group, sequence, text);
}

int64_t FlightRecord::begin(std::string_view group, int64_t sequence, std::string_view text) {
  FlightEntry entry{.sequence = sequence, .began = core::seconds_since_1970()};
  put(group, entry.group);
  put(text, entry.text);
  const std::lock_guard lock(mutex_);
  entry.number = next_++;
  entry.step = step_;
  ring_[static_cast<size_t>(entry.number) % ring_.size()] = entry;
  (entry.is_call() ? call_ : action_) = entry;
  return entry.number;
}

void FlightRecord::end(int64_t number) {
  const double time = core::seconds_since_1970();
  const std::lock_guard lock(mutex_);
  FlightEntry& entry = ring_[static_cast<size_t>(number) % ring_.size()];
  if (entry.number == number) entry.ended = time;
  for (FlightEntry* last : {&action_, &call_}) {
    if (last->number == number) last->ended = time;
  }
}

FlightStatus FlightRecord::status() const {
  const std::lock_guard lock(mutex_);
  return {.step = step_, .action = action_, .call = call_};
}

std::vector<FlightEntry> FlightRecord::entries() const {
  const std::lock_guard lock(mutex_);
  std::vector<FlightEntry> entries;
  const auto size = static_cast<int64_t>(ring_.size());
  for (int64_t number = std::max<int64_t>(1, next_ - size); number < next_; ++number)
    entries.push_back(ring_[static_cast<size_t>(number % size)]);
  return entries;
}

core::Json flight_entry_json(const FlightEntry& entry) {
  core::Json json{{"number", entry.number}, {"step", entry.step}};
  if (entry.is_call()) {
    json["group"] = entry.group.data();
    json["sequence"] = entry.sequence;
  }
  json["what"] = entry.text.data();
  json["began"] = entry.began;
  json["ended"] = entry.ended == 0 ? core::Json(nullptr) : core::Json(entry.ended);
  return json;
}

core::Json flight_status_json(const FlightStatus& status) {
  return {{"step", status.step},
          {"action", flight_entry_json(status.action)},
          {"call", flight_entry_json(status.call)}};
}

FlightStatus flight_status_from(const core::Json& json) {
  try {
    FlightStatus status;
    status.step = json.value("step", int64_t{0});
    if (json.contains("action")) status.action = entry_from(json["action"]);
    if (json.contains("call")) status.call = entry_from(json["call"]);
    return status;
  } catch (const core::Json::exception& error) {
    core::fail(core::ErrorKind::kBadInput, {.what = error.what(), .where = "status of a rank"});
  }
}

}  // namespace hone::parallel
