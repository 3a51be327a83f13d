#include "trainer/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "core/files.h"
#include "core/json.h"

namespace hone::trainer {
namespace {

using core::Json;

int64_t thread_id() { return ::syscall(SYS_gettid); }

Json metadata(const char* what, int64_t process, int64_t thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

// Nanoseconds are as fine as the clock is.
double rounded(double microseconds) { return std::round(microseconds * 1e3) / 1e3; }

}  // namespace

Trace::Trace(Time origin, size_t max_events) : origin_(origin), max_events_(max_events) {}

double Trace::microseconds(Time at) const {
  return std::chrono::duration<double, std::micro>(at - origin_).count();
}

void Trace::add(Event event) {
  event.thread = thread_id();
  const std::lock_guard lock(mutex_);
  if (events_.size() < max_events_) {
    events_.push_back(std::move(event));
  } else {
    ++num_left_out_;
  }
}

void Trace::slice(const std::string& name, const char* category, Time begin, Time end) {
  const double start = microseconds(begin);
  add({.name = name, .category = category, .begin = start, .duration = microseconds(end) - start});
}

void Trace::counter(const char* name, Time at, double value) {
  add({.name = name, .begin = microseconds(at), .value = value});
}

void Trace::name_thread(const std::string& name) {
  const std::lock_guard lock(mutex_);
  threads_.push_back({thread_id(), name});
}

std::string Trace::json() const {
  const std::lock_guard lock(mutex_);
  const int64_t process = ::getpid();
  Json events = Json::array({metadata("process_name", process, process, "hone train")});
  for (const Thread& thread : threads_)
    events.push_back(metadata("thread_name", process, thread.id, thread.name));
  for (const Event& event : events_) {
    Json json{{"ph", event.category == nullptr ? "C" : "X"}, {"name", event.name}};
    if (event.category != nullptr) json["cat"] = event.category;
    json["ts"] = rounded(event.begin);
    if (event.category != nullptr) json["dur"] = rounded(event.duration);
    json["pid"] = process;
    json["tid"] = event.thread;
    if (event.category == nullptr) json["args"] = {{"value", event.value}};
    events.push_back(std::move(json));
  }
  const Json trace{{"displayTimeUnit", "ms"},
                   {"otherData", {{"left_out_events", std::to_string(num_left_out_)}}},
                   {"traceEvents", std::move(events)}};
  return trace.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Trace::write(const std::filesystem::path& path) const {
  core::write_file_atomic(path, json());
}

}  // namespace hone::trainer
