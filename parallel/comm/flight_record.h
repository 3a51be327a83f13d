// What a rank did last: the actions of its steps and its calls of other ranks, for whoever asks why
// a run of several ranks ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace hone::parallel {

// One action or call. Plain memory, so that keeping a thousand costs no allocation.
struct FlightEntry {
  int64_t number = 0;            // of all entries of this process, from 1
  int64_t step = 0;              // finished steps when it began
  std::array<char, 24> group{};  // axis of a call: "world", "dp_shard", ...; "": not a call
  int64_t sequence = 0;          // of a call in its group, from 1: the same on all its ranks
  std::array<char, 112> text{};
  double began = 0, ended = 0;  // seconds since 1970; 0: not ended

  bool is_call() const { return group[0] != '\0'; }
};

std::string describe(const FlightEntry& entry);  // "all_reduce sum of 12 float32, number 7 of tp"

// The state of a rank in a few words.
struct FlightStatus {
  int64_t step = 0;
  FlightEntry action, call;  // the last ones that began; number 0: none
};

// A ring of the last entries. Safe for several threads; a begin or an end holds a lock for less
// than a microsecond.
class FlightRecord {
 public:
  static constexpr size_t kCapacity = 1000;

  explicit FlightRecord(size_t capacity = kCapacity);

  void set_step(int64_t step);

  // Returns the number to end it with. Longer texts are cut.
  int64_t begin_action(std::string_view text);
  int64_t begin_call(std::string_view group, int64_t sequence, std::string_view text);
  void end(int64_t number);  // nothing where the ring has gone past it

  FlightStatus status() const;
  std::vector<FlightEntry> entries() const;  // the oldest first

 private:
  int64_t begin(std::string_view group, int64_t sequence, std::string_view text);

  mutable std::mutex mutex_;
  std::vector<FlightEntry> ring_;
  int64_t next_ = 1;
  FlightEntry action_, call_;  // copies: the ring may have gone past them
  int64_t step_ = 0;
};

core::Json flight_entry_json(const FlightEntry& entry);
core::Json flight_status_json(const FlightStatus& status);
// Fields that are not there stay as they are; texts of any length are cut. Throws kBadInput.
FlightStatus flight_status_from(const core::Json& json);

}  // namespace hone::parallel
