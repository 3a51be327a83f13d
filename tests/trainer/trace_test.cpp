#include "trainer/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "tests/trainer/small_run.h"

namespace hone::trainer {
namespace {

using std::chrono::microseconds;

struct Slice {
  std::string name, category;
  double begin = 0, end = 0;
};

// A trace file held against "Trace Event Format": what a viewer would refuse or draw wrongly is a
// failure. Slices by thread in order of their begin, the longer first.
struct ParsedTrace {
  std::map<int64_t, std::vector<Slice>> slices;
  std::map<std::string, std::vector<double>> counters;
  std::map<int64_t, std::string> thread_names;
  std::string process_name;
  int64_t num_left_out = 0;
};

void take_metadata(const Json& event, ParsedTrace& parsed) {
  const std::string name = event.at("args").at("name");
  if (event.at("name") == "process_name") {
    parsed.process_name = name;
  } else {
    ASSERT_EQ(event.at("name"), "thread_name");
    parsed.thread_names[event.at("tid")] = name;
  }
}

void take_event(const Json& event, ParsedTrace& parsed) {
  ASSERT_TRUE(event.at("pid").is_number_integer() && event.at("tid").is_number_integer());
  ASSERT_FALSE(event.at("name").get<std::string>().empty());
  const std::string phase = event.at("ph");
  if (phase == "M") return take_metadata(event, parsed);
  const double begin = event.at("ts");
  ASSERT_GE(begin, 0) << event;
  if (phase == "C") {
    ASSERT_EQ(event.at("args").size(), 1u);
    parsed.counters[event.at("name")].push_back(event.at("args").at("value"));
    return;
  }
  ASSERT_EQ(phase, "X");
  const double duration = event.at("dur");
  ASSERT_GE(duration, 0) << event;
  parsed.slices[event.at("tid")].push_back(
      {event.at("name"), event.at("cat"), begin, begin + duration});
}

// Slices of one thread lie inside each other or apart; anything else can't be drawn.
void expect_nested(std::vector<Slice>& slices) {
  std::ranges::sort(slices, [](const Slice& a, const Slice& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  constexpr double kRounding = 0.002;  // microseconds: times are written in nanoseconds
  std::vector<Slice> open;
  for (const Slice& slice : slices) {
    while (!open.empty() && open.back().end <= slice.begin + kRounding) open.pop_back();
    if (!open.empty()) {
      EXPECT_LE(slice.end, open.back().end + kRounding) << slice.name << " in " << open.back().name;
    }
    open.push_back(slice);
  }
}

ParsedTrace parse(const std::string& text) {
  ParsedTrace parsed;
  const Json json = Json::parse(text);
  EXPECT_EQ(json.at("displayTimeUnit"), "ms");
  parsed.num_left_out = std::stoll(json.at("otherData").at("left_out_events").get<std::string>());
  for (const Json& event : json.at("traceEvents")) take_event(event, parsed);
  for (auto& [thread, slices] : parsed.slices) expect_nested(slices);
  return parsed;
}

int64_t count(const std::vector<Slice>& slices, const std::string& name) {
  return std::ranges::count(slices, name, &Slice::name);
}

TEST(Trace, SaysWhatItWasToldInMicrosecondsSinceItsOrigin) {
  const Trace::Time origin;
  Trace trace(origin);
  trace.name_thread("main \"one\"\n");
  trace.slice("a", "run", origin + microseconds(10), origin + microseconds(25));
  trace.slice("b", "data", origin + microseconds(12), origin + microseconds(14));
  trace.counter("memory", origin + microseconds(20), 1.5);
  std::thread([&] {
    trace.name_thread("second");
    trace.slice("c", "push", origin + microseconds(11), origin + microseconds(40));
  }).join();
  ParsedTrace parsed = parse(trace.json());
  EXPECT_EQ(parsed.process_name, "hone train");
  ASSERT_EQ(parsed.slices.size(), 2u);
  std::set<std::string> names;
  for (const auto& [thread, name] : parsed.thread_names) {
    names.insert(name);
    EXPECT_TRUE(parsed.slices.contains(thread)) << name;
  }
  EXPECT_EQ(names, (std::set<std::string>{"main \"one\"\n", "second"}));
  const auto& main = parsed.slices[parsed.slices.begin()->second.size() == 2
                                       ? parsed.slices.begin()->first
                                       : std::next(parsed.slices.begin())->first];
  ASSERT_EQ(main.size(), 2u);
  EXPECT_DOUBLE_EQ(main[0].begin, 10);
  EXPECT_DOUBLE_EQ(main[0].end, 25);
  EXPECT_EQ(main[1].category, "data");
  EXPECT_EQ(parsed.counters["memory"], std::vector<double>{1.5});
}

TEST(Trace, IsBoundedAndSaysHowMuchItLeftOut) {
  const Trace::Time origin;
  Trace trace(origin, 3);
  for (int i = 0; i < 10; ++i)
    trace.slice("s", "run", origin + microseconds(i), origin + microseconds(i + 1));
  const ParsedTrace parsed = parse(trace.json());
  EXPECT_EQ(parsed.slices.begin()->second.size(), 3u);
  EXPECT_EQ(parsed.num_left_out, 7);
}

TEST(Trace, OfARunHasEveryActionOfTheStepsAskedForAndThePartsOfAll) {
  SmallRun run(true);
  Trace trace(std::chrono::steady_clock::now());
  trace.name_thread("training");
  run.trace = &trace;
  run.options.profile = {.first_step = 1, .num_steps = 2};
  run.options.gradient_checkpointing = true;
  run.options.eval_steps = 3;
  run.options.save_steps = 3;
  run.sample_prompts = {"What is pkg3?"};
  run.train();
  ParsedTrace parsed = parse(trace.json());
  ASSERT_EQ(parsed.slices.size(), 1u);
  const auto& slices = parsed.slices.begin()->second;
  EXPECT_EQ(count(slices, "step"), 6);
  EXPECT_EQ(count(slices, "data"), 6);
  EXPECT_EQ(count(slices, "evaluate"), 3);
  EXPECT_EQ(count(slices, "generate"), 2);
  EXPECT_EQ(count(slices, "save"), 2);
  for (const char* name :
       {"forward embed of micro-batch 0", "forward layers.1 of micro-batch 1",
        "loss head of micro-batch 0", "recompute layers.0 of micro-batch 1",
        "backward layers.0 of micro-batch 0", "update", "gradient norm", "clip and AdamW"}) {
    EXPECT_EQ(count(slices, name), 2) << name;
  }
  EXPECT_EQ(parsed.counters["tokens/s"].size(), 6u);
  for (const double megabytes : parsed.counters["memory, MB"]) EXPECT_GT(megabytes, 1);
  EXPECT_EQ(parsed.num_left_out, 0);
}

TEST(Trace, ChangesNothingOfTheRun) {
  SmallRun with(true, 0.1), without(true, 0.1);
  Trace trace(std::chrono::steady_clock::now());
  with.trace = &trace;
  with.train();
  without.train();
  EXPECT_EQ(with.timeless_metrics(), without.timeless_metrics());
  expect_same_files(with.out.path(), without.out.path(), {"adapter_model.safetensors"});
}

}  // namespace
}  // namespace hone::trainer
