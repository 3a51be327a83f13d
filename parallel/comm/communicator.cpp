#include "parallel/comm/communicator.h"

#include <exception>
#include <limits>
#include <utility>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

const std::byte* bytes(const void* data) { return static_cast<const std::byte*>(data); }
std::byte* bytes(void* data) { return static_cast<std::byte*>(data); }

[[noreturn]] void refuse(const Operation& operation, const std::string& what,
                         const std::string& got, const std::string& expected) {
  fail(ErrorKind::kInternal,
       {.what = what, .where = describe(operation), .got = got, .expected = expected});
}

void check_counts(const Operation& operation, int size) {
  const auto element = static_cast<int64_t>(dtype_size(operation.dtype));
  const int64_t limit = std::numeric_limits<int64_t>::max() / element / size;
  const auto check = [&](int64_t count) {
    if (count < 0 || count > limit) {
      refuse(operation, "a count is out of range", std::to_string(count), "0 to a buffer's size");
    }
  };
  check(operation.count);
  for (const int64_t count : operation.counts) check(count);
  const bool by_parts =
      operation.kind == OpKind::kReduceScatter || operation.kind == OpKind::kAllGather;
  if (by_parts && operation.counts.size() != static_cast<size_t>(size)) {
    refuse(operation, "there must be one count per rank", std::to_string(operation.counts.size()),
           std::to_string(size));
  }
}

void check_peer(const Operation& operation, int rank, int size) {
  const bool between_two = !is_collective(operation.kind);
  if (!between_two && operation.kind != OpKind::kBroadcast) return;
  if (operation.peer < 0 || operation.peer >= size || (between_two && operation.peer == rank)) {
    refuse(operation, between_two ? "no such other rank" : "no such root",
           std::to_string(operation.peer), "below " + std::to_string(size));
  }
  if (operation.tag < 0 || operation.tag > 32767) {
    refuse(operation, "a tag is out of range", std::to_string(operation.tag), "0 to 32767");
  }
}

// Input and output may touch only where the result of an element replaces that element.
void check_overlap(const Operation& operation, int rank, int size) {
  const auto element = static_cast<int64_t>(dtype_size(operation.dtype));
  int64_t in = operation.count * element, out = in;
  const std::byte *input = operation.input, *output = operation.output;
  const std::byte* allowed = nullptr;
  switch (operation.kind) {
    case OpKind::kAllReduce:
      allowed = input;
      break;
    case OpKind::kReduceScatter:
      in = total(operation.counts) * element;
      out = operation.counts[static_cast<size_t>(rank)] * element;
      allowed = input == nullptr ? nullptr : input + part_offset(operation, rank);
      break;
    case OpKind::kAllGather:
      in = operation.counts[static_cast<size_t>(rank)] * element;
      out = total(operation.counts) * element;
      if (output != nullptr && input == output + part_offset(operation, rank)) return;
      break;
    case OpKind::kAllToAll:
      in = out = in * size;
      break;
    case OpKind::kSend:
      out = 0;
      break;
    case OpKind::kRecv:
    case OpKind::kBroadcast:
      in = 0;
      break;
    case OpKind::kBarrier:
      in = out = 0;
      break;
  }
  if ((in > 0 && input == nullptr) || (out > 0 && output == nullptr)) {
    refuse(operation, "a buffer is missing", "null", "memory");
  }
  const bool apart = in == 0 || out == 0 || input + in <= output || output + out <= input;
  if (!apart && output != allowed) {
    refuse(operation, "input and output overlap", "another place", "apart, or in place");
  }
}

}  // namespace

Request& Request::operator=(Request&& other) noexcept {
  Request old(std::move(*this));
  pending_ = std::move(other.pending_);
  return *this;
}

Request::~Request() {
  if (!pending_) return;
  if (std::uncaught_exceptions() > 0) {
    pending_->abandon();
    return;
  }
  try {
    pending_->wait();
  } catch (...) {
    pending_->abandon();  // who wants to know calls wait()
  }
}

bool Request::test() {
  if (pending_ && pending_->test()) pending_.reset();
  return !pending_;
}

void Request::wait() {
  if (!pending_) return;
  pending_->wait();
  pending_.reset();
}

Communicator::Communicator(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

Request Communicator::start(const Operation& operation) {
  check_counts(operation, size());
  check_peer(operation, rank(), size());
  check_overlap(operation, rank(), size());
  return Request(backend_->start(operation));
}

void Communicator::run(const Operation& operation) { start(operation).wait(); }

std::vector<int64_t> Communicator::equal_counts(int64_t count) const {
  return std::vector<int64_t>(static_cast<size_t>(size()), count);
}

void Communicator::all_reduce(const void* input, void* output, int64_t count, DType dtype,
                              ReduceOp op) {
  start_all_reduce(input, output, count, dtype, op).wait();
}

void Communicator::all_reduce_ordered(const void* input, void* output, int64_t count, DType dtype,
                                      ReduceOp op) {
  run({.kind = OpKind::kAllReduce,
       .dtype = dtype,
       .reduce = op,
       .ordered = true,
       .input = bytes(input),
       .output = bytes(output),
       .count = count});
}

void Communicator::reduce_scatter(const void* input, void* output, int64_t count, DType dtype,
                                  ReduceOp op) {
  start_reduce_scatter(input, output, equal_counts(count), dtype, op).wait();
}

void Communicator::reduce_scatter(const void* input, void* output,
                                  const std::vector<int64_t>& counts, DType dtype, ReduceOp op) {
  start_reduce_scatter(input, output, counts, dtype, op).wait();
}

void Communicator::reduce_scatter_ordered(const void* input, void* output,
                                          const std::vector<int64_t>& counts, DType dtype,
                                          ReduceOp op) {
  run({.kind = OpKind::kReduceScatter,
       .dtype = dtype,
       .reduce = op,
       .ordered = true,
       .input = bytes(input),
       .output = bytes(output),
       .counts = counts});
}

void Communicator::all_gather(const void* input, void* output, int64_t count, DType dtype) {
  start_all_gather(input, output, equal_counts(count), dtype).wait();
}

void Communicator::all_gather(const void* input, void* output, const std::vector<int64_t>& counts,
                              DType dtype) {
  start_all_gather(input, output, counts, dtype).wait();
}

void Communicator::broadcast(void* data, int64_t count, DType dtype, int root) {
  run({.kind = OpKind::kBroadcast,
       .dtype = dtype,
       .output = bytes(data),
       .count = count,
       .peer = root});
}

void Communicator::all_to_all(const void* input, void* output, int64_t count, DType dtype) {
  start_all_to_all(input, output, count, dtype).wait();
}

void Communicator::send(const void* data, int64_t count, DType dtype, int peer, int tag) {
  start_send(data, count, dtype, peer, tag).wait();
}

void Communicator::recv(void* data, int64_t count, DType dtype, int peer, int tag) {
  start_recv(data, count, dtype, peer, tag).wait();
}

void Communicator::barrier() { run({.kind = OpKind::kBarrier}); }

Request Communicator::start_all_reduce(const void* input, void* output, int64_t count, DType dtype,
                                       ReduceOp op) {
  return start({.kind = OpKind::kAllReduce,
                .dtype = dtype,
                .reduce = op,
                .input = bytes(input),
                .output = bytes(output),
                .count = count});
}

Request Communicator::start_reduce_scatter(const void* input, void* output,
                                           const std::vector<int64_t>& counts, DType dtype,
                                           ReduceOp op) {
  return start({.kind = OpKind::kReduceScatter,
                .dtype = dtype,
                .reduce = op,
                .input = bytes(input),
                .output = bytes(output),
                .counts = counts});
}

Request Communicator::start_all_gather(const void* input, void* output,
                                       const std::vector<int64_t>& counts, DType dtype) {
  return start({.kind = OpKind::kAllGather,
                .dtype = dtype,
                .input = bytes(input),
                .output = bytes(output),
                .counts = counts});
}

Request Communicator::start_all_to_all(const void* input, void* output, int64_t count,
                                       DType dtype) {
  return start({.kind = OpKind::kAllToAll,
                .dtype = dtype,
                .input = bytes(input),
                .output = bytes(output),
                .count = count});
}

Request Communicator::start_send(const void* data, int64_t count, DType dtype, int peer, int tag) {
  return start({.kind = OpKind::kSend,
                .dtype = dtype,
                .input = bytes(data),
                .count = count,
                .peer = peer,
                .tag = tag});
}

Request Communicator::start_recv(void* data, int64_t count, DType dtype, int peer, int tag) {
  return start({.kind = OpKind::kRecv,
                .dtype = dtype,
                .output = bytes(data),
                .count = count,
                .peer = peer,
                .tag = tag});
}

Communicator Communicator::split(int color, int key) const {
  if (color < 0) {
    fail(ErrorKind::kInternal, {.what = "a color of split is negative",
                                .got = std::to_string(color),
                                .expected = "0 or more"});
  }
  return Communicator(backend_->split(color, key));
}

void Communicator::abort(int exit_code, const std::string& message) {
  backend_->abort(exit_code, message);
  fail(static_cast<ErrorKind>(exit_code), {.what = message});
}

void Communicator::finish() { backend_->finish(); }

}  // namespace hone::parallel
