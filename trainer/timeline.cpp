#include "trainer/timeline.h"

namespace hone::trainer {
namespace {

constexpr std::array kNames{"data",        "forward",   "loss",     "recompute", "backward",
                            "communicate", "optimizer", "evaluate", "generate",  "save"};

}  // namespace

Timeline::Span::Span(Timeline& timeline, const Part* part, std::string name, bool traced)
    : timeline_(timeline),
      has_part_(part != nullptr),
      part_(part == nullptr ? Part::kData : *part),
      name_(std::move(name)),
      traced_(traced),
      number_(has_part_ && timeline.record_ ? timeline.record_->begin_action(name_) : 0),
      begin_(std::chrono::steady_clock::now()) {}

Timeline::Span::~Span() {
  const auto end = std::chrono::steady_clock::now();
  if (number_ != 0) timeline_.record_->end(number_);
  if (has_part_) {
    timeline_.seconds_[static_cast<size_t>(part_)] +=
        std::chrono::duration<double>(end - begin_).count();
  }
  if (traced_) {
    timeline_.trace_->slice(name_, has_part_ ? kNames[static_cast<size_t>(part_)] : "run", begin_,
                            end);
  }
}

Timeline::Span Timeline::part(Part part) {
  return Span(*this, &part, kNames[static_cast<size_t>(part)], traces());
}

Timeline::Span Timeline::detail(const char* name) {
  return Span(*this, nullptr, traces_details() ? name : "", traces_details());
}

Timeline::Span Timeline::slice(const std::string& name) {
  return Span(*this, nullptr, name, traces());
}

void Timeline::counter(const char* name, double value) {
  if (traces()) trace_->counter(name, std::chrono::steady_clock::now(), value);
}

core::Json Timeline::seconds() const {
  core::Json json = core::Json::object();
  for (size_t part = 0; part < kNumParts; ++part) json[kNames[part]] = seconds_[part];
  return json;
}

}  // namespace hone::trainer
