// The work of an operation between threads: copies and sums from the ranks' buffers into each
// other's.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "parallel/comm/combine.h"
#include "parallel/comm/thread_world.h"

namespace hone::parallel {
namespace {

constexpr int64_t kPieceBytes = int64_t{256} << 10;

int64_t element(const Operation& part) { return static_cast<int64_t>(dtype_size(part.dtype)); }

// Bytes that are cut in pieces: those of one rank's longest range.
int64_t span_bytes(const Operation& part) {
  int64_t count = part.count;
  if (part.kind == OpKind::kAllGather || part.kind == OpKind::kReduceScatter) {
    count = *std::max_element(part.counts.begin(), part.counts.end());
  }
  return count * element(part);
}

void copy(const std::byte* from, std::byte* to, int64_t begin, int64_t end) {
  if (from != to && end > begin) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  }
}

// Elements [begin, end) bytes of every rank's input, from `offset` on, into `output`.
void reduce(const Meeting& meeting, int64_t offset, int64_t begin, int64_t end, std::byte* output) {
  if (end <= begin) return;
  std::vector<const void*> inputs;
  for (const Operation& part : meeting.parts) inputs.push_back(part.input + offset + begin);
  const Operation& part = meeting.parts[0];
  combine_tree(part.dtype, part.reduce, inputs, output + begin, (end - begin) / element(part));
}

void all_gather(const Meeting& meeting, int64_t begin, int64_t end) {
  for (size_t from = 0; from < meeting.parts.size(); ++from) {
    const Operation& part = meeting.parts[from];
    const int64_t stop = std::min(end, part.counts[from] * element(part));
    const int64_t offset = part_offset(part, static_cast<int>(from));
    for (const Operation& to : meeting.parts) {
      if (stop > begin) copy(part.input, to.output + offset, begin, stop);
    }
  }
}

void reduce_scatter(const Meeting& meeting, int64_t begin, int64_t end) {
  for (size_t to = 0; to < meeting.parts.size(); ++to) {
    const Operation& part = meeting.parts[to];
    reduce(meeting, part_offset(part, static_cast<int>(to)), begin,
           std::min(end, part.counts[to] * element(part)), part.output);
  }
}

void all_to_all(const Meeting& meeting, int64_t begin, int64_t end) {
  const int64_t each = span_bytes(meeting.parts[0]);
  const auto n = static_cast<int64_t>(meeting.parts.size());
  for (int64_t from = 0; from < n; ++from) {
    for (int64_t to = 0; to < n; ++to) {
      copy(meeting.parts[static_cast<size_t>(from)].input + to * each,
           meeting.parts[static_cast<size_t>(to)].output + from * each, begin, end);
    }
  }
}

bool fit(const Operation& a, const Operation& b) {
  if (!is_collective(a.kind)) return a.dtype == b.dtype && a.count == b.count;
  return a.kind == b.kind && a.dtype == b.dtype && a.count == b.count && a.counts == b.counts &&
         a.reduce == b.reduce && a.peer == b.peer;
}

}  // namespace

int64_t count_pieces(const Meeting& meeting) {
  const Operation& first = meeting.parts[0];
  for (size_t i = 1; i < meeting.parts.size(); ++i) {
    if (fit(first, meeting.parts[i])) continue;
    core::fail(core::ErrorKind::kInternal,
               {.what = "ranks call what does not fit together: rank " +
                        std::to_string(meeting.members[0]) + " " + describe(first) + ", rank " +
                        std::to_string(meeting.members[i]) + " " + describe(meeting.parts[i])});
  }
  return (span_bytes(first) + kPieceBytes - 1) / kPieceBytes;
}

void do_piece(const Meeting& meeting, int64_t index) {
  const Operation& first = meeting.parts[0];
  const int64_t begin = index * kPieceBytes;
  const int64_t end = std::min(span_bytes(first), begin + kPieceBytes);
  switch (first.kind) {
    case OpKind::kAllReduce:
      reduce(meeting, 0, begin, end, first.output);
      for (const Operation& to : meeting.parts) copy(first.output, to.output, begin, end);
      return;
    case OpKind::kReduceScatter:
      return reduce_scatter(meeting, begin, end);
    case OpKind::kAllGather:
      return all_gather(meeting, begin, end);
    case OpKind::kAllToAll:
      return all_to_all(meeting, begin, end);
    case OpKind::kBroadcast: {
      const std::byte* root = meeting.parts[static_cast<size_t>(first.peer)].output;
      for (const Operation& to : meeting.parts) copy(root, to.output, begin, end);
      return;
    }
    case OpKind::kBarrier:
      return;
    case OpKind::kSend:
    case OpKind::kRecv:
      return copy(meeting.parts[0].input, meeting.parts[1].output, begin, end);
  }
}

}  // namespace hone::parallel
