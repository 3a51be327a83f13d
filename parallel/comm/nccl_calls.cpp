#include "parallel/comm/nccl_calls.h"

namespace hone::parallel {
namespace {

int nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return kNcclFloat32;
    case DType::kBFloat16:
      return kNcclBfloat16;
    case DType::kFloat16:
      return kNcclFloat16;
    case DType::kFloat64:
      return kNcclFloat64;
    case DType::kInt32:
      return kNcclInt32;
    case DType::kInt64:
      return kNcclInt64;
    case DType::kUInt8:
      return kNcclUint8;
  }
  return kNcclUint8;
}

int nccl_op(ReduceOp op) {
  if (op == ReduceOp::kSum) return kNcclSum;
  return op == ReduceOp::kMax ? kNcclMax : kNcclMin;
}

bool good(int code) { return code == kNcclSuccess || code == kNcclInProgress; }

}  // namespace

void NcclCalls::settle(int code, const std::string& call) const {
  world.settle(code, comm.handle, call);
}

// The group is ended whatever happens in it: NCCL counts them per thread.
void NcclCalls::group(const std::function<int()>& calls, const std::string& what) const {
  world.check_nccl(world.api().group_start(), "ncclGroupStart");
  const int code = calls();
  const int end = world.api().group_end();
  world.check_nccl(code, what);
  settle(end, "ncclGroupEnd");
}

void NcclCalls::group_of_parts(const Operation& operation,
                               const std::function<int(int rank, size_t count)>& call,
                               const std::string& what) const {
  group(
      [&] {
        int code = kNcclSuccess;
        for (int r = 0; r < size && good(code); ++r) {
          const auto part = static_cast<size_t>(operation.counts[static_cast<size_t>(r)]);
          if (part > 0) code = call(r, part);
        }
        return code;
      },
      what);
}

void NcclCalls::post(const Operation& operation) const {
  const auto count = static_cast<size_t>(operation.count);
  const int type = nccl_type(operation.dtype);
  switch (operation.kind) {
    case OpKind::kAllReduce:
      if (count == 0) return;
      return settle(world.api().all_reduce(operation.input, operation.output, count, type,
                                           nccl_op(operation.reduce), comm.handle, comm.stream),
                    "ncclAllReduce");
    case OpKind::kBroadcast:
      if (count == 0) return;
      return settle(world.api().broadcast(operation.output, operation.output, count, type,
                                          operation.peer, comm.handle, comm.stream),
                    "ncclBroadcast");
    case OpKind::kReduceScatter:
      return post_reduce_scatter(operation);
    case OpKind::kAllGather:
      return post_all_gather(operation);
    case OpKind::kAllToAll:
      if (count > 0) post_all_to_all(operation);
      return;
    default:  // barriers and messages do not come here
      return;
  }
}

void NcclCalls::post_reduce_scatter(const Operation& operation) const {
  const int type = nccl_type(operation.dtype), op = nccl_op(operation.reduce);
  const auto& counts = operation.counts;
  if (total(counts) == 0) return;
  if (all_equal(counts)) {
    return settle(world.api().reduce_scatter(operation.input, operation.output,
                                             static_cast<size_t>(counts[0]), type, op, comm.handle,
                                             comm.stream),
                  "ncclReduceScatter");
  }
  group_of_parts(
      operation,
      [&](int r, size_t part) {
        return world.api().reduce(operation.input + part_offset(operation, r),
                                  r == rank ? operation.output : nullptr, part, type, op, r,
                                  comm.handle, comm.stream);
      },
      "ncclReduce");
}

void NcclCalls::post_all_gather(const Operation& operation) const {
  const int type = nccl_type(operation.dtype);
  const auto& counts = operation.counts;
  if (total(counts) == 0) return;
  if (all_equal(counts)) {
    return settle(
        world.api().all_gather(operation.input, operation.output, static_cast<size_t>(counts[0]),
                               type, comm.handle, comm.stream),
        "ncclAllGather");
  }
  group_of_parts(
      operation,
      [&](int r, size_t part) {
        std::byte* place = operation.output + part_offset(operation, r);
        return world.api().broadcast(r == rank ? operation.input : place, place, part, type, r,
                                     comm.handle, comm.stream);
      },
      "ncclBroadcast");
}

void NcclCalls::post_all_to_all(const Operation& operation) const {
  const int type = nccl_type(operation.dtype);
  const auto count = static_cast<size_t>(operation.count);
  const size_t bytes = count * dtype_size(operation.dtype);
  const auto at = [&](int r) { return static_cast<size_t>(r) * bytes; };
  world.check_cuda(world.api().memcpy_async(operation.output + at(rank), operation.input + at(rank),
                                            bytes, comm.stream),
                   "cudaMemcpyAsync");
  if (size == 1) return;
  group(
      [&] {
        int code = kNcclSuccess;
        for (int i = 1; i < size && good(code); ++i) {
          const int from = (rank + size - i) % size, to = (rank + i) % size;
          code =
              world.api().send(operation.input + at(to), count, type, to, comm.handle, comm.stream);
          if (!good(code)) break;
          code = world.api().recv(operation.output + at(from), count, type, from, comm.handle,
                                  comm.stream);
        }
        return code;
      },
      "ncclSend and ncclRecv");
}

void NcclCalls::post_messages(const NumberedMessages& messages) const {
  const auto call = [&](const Operation& message) {
    const auto count = static_cast<size_t>(message.count);
    const int type = nccl_type(message.dtype);
    return message.kind == OpKind::kSend ? world.api().send(message.input, count, type,
                                                            message.peer, comm.handle, comm.stream)
                                         : world.api().recv(message.output, count, type,
                                                            message.peer, comm.handle, comm.stream);
  };
  group(
      [&] {
        int code = kNcclSuccess;
        for (const auto& entry : messages) {
          if (good(code)) code = call(entry.second);
        }
        return code;
      },
      "ncclSend and ncclRecv");
}

}  // namespace hone::parallel
