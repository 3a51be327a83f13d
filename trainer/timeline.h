// Where the time of a run goes: seconds by part always, single slices into a trace when there is
// one, parts and actions into a flight record when there is one. Work that a GPU does later counts
// where the host waits for it.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "core/json.h"
#include "parallel/comm/flight_record.h"
#include "trainer/trace.h"

namespace hone::trainer {

enum class Part {
  kData,       // micro-batches from the token cache
  kForward,    // embedding and blocks
  kLoss,       // final norm, head and cross-entropy, with their gradients
  kRecompute,  // gradient_checkpointing: blocks once more
  kBackward,
  kCommunicate,  // waiting for other ranks and their data: what computing did not hide
  kOptimizer,    // gradient norm, clipping, update
  kEvaluate,
  kGenerate,
  kSave,
};

class Timeline {
 public:
  explicit Timeline(Trace* trace = nullptr,
                    std::shared_ptr<parallel::FlightRecord> record = nullptr)
      : trace_(trace), record_(std::move(record)) {}

  // From construction to destruction: adds to a part, and is a slice where it is traced.
  class Span {
   public:
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;
    ~Span();

   private:
    friend class Timeline;
    Span(Timeline& timeline, const Part* part, std::string name, bool traced);
    Timeline& timeline_;
    const bool has_part_;
    const Part part_;
    const std::string name_;
    const bool traced_;
    const int64_t number_;  // in the flight record, 0: not there
    const Trace::Time begin_;
  };

  [[nodiscard]] Span part(Part part);  // named after the part
  // `name` is asked for only while somebody wants it.
  template <typename Name>
  [[nodiscard]] Span action(Part part, const Name& name) {
    const bool wanted = traces_details() || record_ != nullptr;
    return Span(*this, &part, wanted ? name() : std::string(), traces_details());
  }
  // Inside another span: a slice only, while details are traced.
  [[nodiscard]] Span detail(const char* name);
  [[nodiscard]] Span slice(const std::string& name);  // a slice only

  void counter(const char* name, double value);

  // Whether single actions get slices of their own.
  void trace_details(bool on) { details_ = on; }
  bool traces_details() const { return details_ && trace_ != nullptr; }
  bool traces() const { return trace_ != nullptr; }

  core::Json seconds() const;  // {"data": 0.1, "forward": ...}
  double seconds_of(Part part) const { return seconds_[static_cast<size_t>(part)]; }

 private:
  static constexpr size_t kNumParts = static_cast<size_t>(Part::kSave) + 1;
  Trace* trace_;
  std::shared_ptr<parallel::FlightRecord> record_;
  bool details_ = false;
  std::array<double, kNumParts> seconds_{};
};

}  // namespace hone::trainer
