// The calls of NCCL and the CUDA runtime that the nccl backend makes, as a value: nccl_real.cpp
// fills it with the libraries' own, a test with a recording fake. So all logic compiles and runs
// without CUDA's headers, and what needs them is one small unit.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>

namespace hone::parallel {

// Opaque: ncclComm_t, cudaStream_t, cudaEvent_t.
using NcclHandle = struct NcclHandleTag*;
using CudaStream = struct CudaStreamTag*;  // null: the default stream
using CudaEvent = struct CudaEventTag*;
using NcclId = std::array<char, 128>;  // ncclUniqueId

// Values of ncclResult_t, cudaError_t, ncclRedOp_t and ncclDataType_t; nccl_real.cpp asserts them.
constexpr int kNcclSuccess = 0, kNcclUnhandledCudaError = 1, kNcclInvalidArgument = 4,
              kNcclInvalidUsage = 5, kNcclInProgress = 7;
constexpr int kCudaSuccess = 0, kCudaNotReady = 600;
constexpr int kNcclSum = 0, kNcclMax = 2, kNcclMin = 3;
constexpr int kNcclUint8 = 1, kNcclInt32 = 2, kNcclInt64 = 4, kNcclFloat16 = 6, kNcclFloat32 = 7,
              kNcclFloat64 = 8, kNcclBfloat16 = 9;

// Named after the calls they stand for, with their order of arguments; the result is their code.
// Counts are elements, `type` and `op` the constants above.
struct NcclApi {
  std::function<int(NcclId* id)> get_unique_id;
  // ncclCommInitRankConfig and ncclCommSplit with blocking = 0: kNcclInProgress until
  // comm_get_async_error says otherwise, so that a missing rank can be given up. *comm must stay
  // where it is until then.
  std::function<int(NcclHandle* comm, int size, const NcclId& id, int rank)> comm_init_rank;
  std::function<int(NcclHandle comm, int color, int key, NcclHandle* part)> comm_split;
  std::function<int(NcclHandle comm, int* error)> comm_get_async_error;
  std::function<int(NcclHandle comm)> comm_finalize, comm_destroy, comm_abort;
  std::function<std::string(int code)> nccl_error_string;

  std::function<int()> group_start, group_end;
  std::function<int(const void*in, void*out, size_t count, int type, int op, NcclHandle,
                    CudaStream)>
      all_reduce, reduce_scatter;  // reduce_scatter: count of a rank's part
  std::function<int(const void* in, void* out, size_t count, int type, int op, int root, NcclHandle,
                    CudaStream)>
      reduce;
  std::function<int(const void* in, void* out, size_t count, int type, NcclHandle, CudaStream)>
      all_gather;
  std::function<int(const void* in, void* out, size_t count, int type, int root, NcclHandle,
                    CudaStream)>
      broadcast;
  std::function<int(const void* in, size_t count, int type, int peer, NcclHandle, CudaStream)> send;
  std::function<int(void* out, size_t count, int type, int peer, NcclHandle, CudaStream)> recv;

  std::function<int(int device)> set_device;
  std::function<int(CudaStream* stream)> stream_create;  // non-blocking
  std::function<int(CudaStream stream)> stream_destroy;
  std::function<int(CudaStream stream, CudaEvent event)> stream_wait_event;
  std::function<int(CudaEvent* event)> event_create;  // without timing
  std::function<int(CudaEvent event)> event_destroy, event_query;
  std::function<int(CudaEvent event, CudaStream stream)> event_record;
  // From device memory to device memory.
  std::function<int(void* to, const void* from, size_t bytes, CudaStream stream)> memcpy_async;
  std::function<std::string(int code)> cuda_error_string;
};

// The libraries' own calls. Throws kBadRecipe where this build has no NCCL.
NcclApi real_nccl_api();

}  // namespace hone::parallel
