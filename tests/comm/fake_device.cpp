#include "tests/comm/fake_device.h"

#include <algorithm>
#include <cstring>

#include "parallel/comm/combine.h"

namespace hone::test {
namespace {

using Parts = std::vector<std::shared_ptr<FakePart>>;

size_t bytes_of(const FakePart& part) { return part.count * parallel::dtype_size(part.dtype); }

void move_bytes(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

// `count` elements from `offset` bytes on, reduced over all parts.
std::vector<std::byte> sum(const Parts& parts, size_t offset) {
  std::vector<const void*> inputs;
  for (const auto& part : parts) inputs.push_back(part->in + offset);
  std::vector<std::byte> out(bytes_of(*parts[0]));
  parallel::combine_tree(parts[0]->dtype, parts[0]->op, inputs, out.data(),
                         static_cast<int64_t>(parts[0]->count));
  return out;
}

void execute(const Parts& parts) {
  const FakePart& first = *parts[0];
  const size_t bytes = bytes_of(first);
  if (first.kind == "all_reduce" || first.kind == "reduce") {
    const auto result = sum(parts, 0);
    for (size_t r = 0; r < parts.size(); ++r) {
      const bool takes = first.kind == "all_reduce" || static_cast<size_t>(first.root) == r;
      if (takes) move_bytes(parts[r]->out, result.data(), bytes);
    }
  } else if (first.kind == "reduce_scatter") {
    std::vector<std::vector<std::byte>> results;  // before any output, which may be in an input
    for (size_t r = 0; r < parts.size(); ++r) results.push_back(sum(parts, r * bytes));
    for (size_t r = 0; r < parts.size(); ++r) move_bytes(parts[r]->out, results[r].data(), bytes);
  } else if (first.kind == "all_gather") {
    for (const auto& to : parts) {
      for (size_t r = 0; r < parts.size(); ++r)
        move_bytes(to->out + r * bytes, parts[r]->in, bytes);
    }
  } else if (first.kind == "broadcast") {
    for (const auto& to : parts)
      move_bytes(to->out, parts[static_cast<size_t>(first.root)]->in, bytes);
  } else {
    move_bytes(parts[1]->out, parts[0]->in, bytes);
  }
}

bool advance(FakeStream& stream) {
  if (stream.steps.empty()) return false;
  FakeStep& step = stream.steps.front();
  switch (step.kind) {
    case FakeStep::Kind::kRecord:
      step.event->passed = std::max(step.event->passed, step.ticket);
      break;
    case FakeStep::Kind::kWait:
      if (step.event->passed < step.ticket) return false;
      break;
    case FakeStep::Kind::kCopy:
      step.copy();
      break;
    case FakeStep::Kind::kParts: {
      bool done = true, progress = false;
      for (const auto& [part, meeting] : step.parts) {
        progress = progress || !part->active;
        part->active = true;
        meeting->execute_if_ready();
      }
      for (const auto& [part, meeting] : step.parts) done = done && part->done;
      if (!done) return progress;
    }
  }
  stream.steps.pop_front();
  return true;
}

}  // namespace

parallel::DType dtype_of(int type) {
  switch (type) {
    case parallel::kNcclFloat32:
      return parallel::DType::kFloat32;
    case parallel::kNcclBfloat16:
      return parallel::DType::kBFloat16;
    case parallel::kNcclFloat16:
      return parallel::DType::kFloat16;
    case parallel::kNcclFloat64:
      return parallel::DType::kFloat64;
    case parallel::kNcclInt32:
      return parallel::DType::kInt32;
    case parallel::kNcclInt64:
      return parallel::DType::kInt64;
    default:
      return parallel::DType::kUInt8;
  }
}

parallel::ReduceOp op_of(int op) {
  if (op == parallel::kNcclSum) return parallel::ReduceOp::kSum;
  return op == parallel::kNcclMax ? parallel::ReduceOp::kMax : parallel::ReduceOp::kMin;
}

void FakeMeeting::execute_if_ready() {
  for (const auto& part : parts) {
    if (!part || !part->active || part->done) return;
  }
  execute(parts);
  for (const auto& part : parts) part->done = true;
}

void FakeSplit::finish() {
  std::stable_sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) {
    return std::tuple(a.color, a.key, a.parent_rank) < std::tuple(b.color, b.key, b.parent_rank);
  });
  std::shared_ptr<FakeGroup> group;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i == 0 || calls[i].color != calls[i - 1].color) group = std::make_shared<FakeGroup>();
    calls[i].part->rank = group->size;
    calls[i].part->group = group;
    group->joined = ++group->size;
  }
  done = true;
}

void FakeRank::kill() {
  for (const auto& [key, stream] : streams) {
    for (FakeStep& step : stream->steps) {
      for (const auto& [part, meeting] : step.parts) part->done = true;
      if (step.kind == FakeStep::Kind::kCopy) step.copy = [] {};
    }
  }
}

void FakeDevice::run() {
  for (bool progress = true; progress;) {
    progress = false;
    for (FakeRank& rank : ranks) {
      for (const auto& [key, stream] : rank.streams) {
        while (advance(*stream)) progress = true;
      }
    }
  }
}

}  // namespace hone::test
