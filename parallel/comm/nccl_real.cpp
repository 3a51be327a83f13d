// The real NCCL and CUDA runtime behind nccl_api.h: the only unit that sees their headers.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>

#include "parallel/comm/nccl_api.h"

namespace hone::parallel {
namespace {

static_assert(kNcclSuccess == ncclSuccess && kNcclUnhandledCudaError == ncclUnhandledCudaError &&
              kNcclInvalidArgument == ncclInvalidArgument &&
              kNcclInvalidUsage == ncclInvalidUsage && kNcclInProgress == ncclInProgress);
static_assert(kCudaSuccess == cudaSuccess && kCudaNotReady == cudaErrorNotReady);
static_assert(kNcclSum == ncclSum && kNcclMax == ncclMax && kNcclMin == ncclMin);
static_assert(kNcclUint8 == ncclUint8 && kNcclInt32 == ncclInt32 && kNcclInt64 == ncclInt64 &&
              kNcclFloat16 == ncclFloat16 && kNcclFloat32 == ncclFloat32 &&
              kNcclFloat64 == ncclFloat64 && kNcclBfloat16 == ncclBfloat16);
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

ncclComm_t of(NcclHandle comm) { return reinterpret_cast<ncclComm_t>(comm); }
ncclComm_t* of(NcclHandle* comm) { return reinterpret_cast<ncclComm_t*>(comm); }
cudaStream_t of(CudaStream stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaStream_t* of(CudaStream* stream) { return reinterpret_cast<cudaStream_t*>(stream); }
cudaEvent_t of(CudaEvent event) { return reinterpret_cast<cudaEvent_t>(event); }
cudaEvent_t* of(CudaEvent* event) { return reinterpret_cast<cudaEvent_t*>(event); }
ncclDataType_t type_of(int type) { return static_cast<ncclDataType_t>(type); }
ncclRedOp_t op_of(int op) { return static_cast<ncclRedOp_t>(op); }

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

void add_communicators(NcclApi& api) {
  api.get_unique_id = [](NcclId* id) -> int {
    ncclUniqueId unique{};
    const ncclResult_t code = ncclGetUniqueId(&unique);
    std::memcpy(id->data(), &unique, sizeof(unique));
    return code;
  };
  api.comm_init_rank = [](NcclHandle* comm, int size, const NcclId& id, int rank) -> int {
    ncclUniqueId unique{};
    std::memcpy(&unique, id.data(), sizeof(unique));
    ncclConfig_t config = non_blocking();
    return ncclCommInitRankConfig(of(comm), size, unique, rank, &config);
  };
  api.comm_split = [](NcclHandle comm, int color, int key, NcclHandle* part) -> int {
    ncclConfig_t config = non_blocking();
    return ncclCommSplit(of(comm), color, key, of(part), &config);
  };
  api.comm_get_async_error = [](NcclHandle comm, int* error) -> int {
    ncclResult_t found = ncclSuccess;
    const ncclResult_t code = ncclCommGetAsyncError(of(comm), &found);
    *error = found;
    return code;
  };
  api.comm_finalize = [](NcclHandle comm) -> int { return ncclCommFinalize(of(comm)); };
  api.comm_destroy = [](NcclHandle comm) -> int { return ncclCommDestroy(of(comm)); };
  api.comm_abort = [](NcclHandle comm) -> int { return ncclCommAbort(of(comm)); };
  api.nccl_error_string = [](int code) {
    return std::string(ncclGetErrorString(static_cast<ncclResult_t>(code)));
  };
}

void add_collectives(NcclApi& api) {
  api.group_start = []() -> int { return ncclGroupStart(); };
  api.group_end = []() -> int { return ncclGroupEnd(); };
  api.all_reduce = [](const void* in, void* out, size_t count, int type, int op, NcclHandle comm,
                      CudaStream stream) -> int {
    return ncclAllReduce(in, out, count, type_of(type), op_of(op), of(comm), of(stream));
  };
  api.reduce_scatter = [](const void* in, void* out, size_t count, int type, int op,
                          NcclHandle comm, CudaStream stream) -> int {
    return ncclReduceScatter(in, out, count, type_of(type), op_of(op), of(comm), of(stream));
  };
  api.reduce = [](const void* in, void* out, size_t count, int type, int op, int root,
                  NcclHandle comm, CudaStream stream) -> int {
    return ncclReduce(in, out, count, type_of(type), op_of(op), root, of(comm), of(stream));
  };
  api.all_gather = [](const void* in, void* out, size_t count, int type, NcclHandle comm,
                      CudaStream stream) -> int {
    return ncclAllGather(in, out, count, type_of(type), of(comm), of(stream));
  };
  api.broadcast = [](const void* in, void* out, size_t count, int type, int root, NcclHandle comm,
                     CudaStream stream) -> int {
    return ncclBroadcast(in, out, count, type_of(type), root, of(comm), of(stream));
  };
  api.send = [](const void* in, size_t count, int type, int peer, NcclHandle comm,
                CudaStream stream) -> int {
    return ncclSend(in, count, type_of(type), peer, of(comm), of(stream));
  };
  api.recv = [](void* out, size_t count, int type, int peer, NcclHandle comm,
                CudaStream stream) -> int {
    return ncclRecv(out, count, type_of(type), peer, of(comm), of(stream));
  };
}

void add_cuda(NcclApi& api) {
  api.set_device = [](int device) -> int { return cudaSetDevice(device); };
  api.stream_create = [](CudaStream* stream) -> int {
    return cudaStreamCreateWithFlags(of(stream), cudaStreamNonBlocking);
  };
  api.stream_destroy = [](CudaStream stream) -> int { return cudaStreamDestroy(of(stream)); };
  api.stream_wait_event = [](CudaStream stream, CudaEvent event) -> int {
    return cudaStreamWaitEvent(of(stream), of(event), 0);
  };
  api.event_create = [](CudaEvent* event) -> int {
    return cudaEventCreateWithFlags(of(event), cudaEventDisableTiming);
  };
  api.event_destroy = [](CudaEvent event) -> int { return cudaEventDestroy(of(event)); };
  api.event_query = [](CudaEvent event) -> int { return cudaEventQuery(of(event)); };
  api.event_record = [](CudaEvent event, CudaStream stream) -> int {
    return cudaEventRecord(of(event), of(stream));
  };
  api.memcpy_async = [](void* to, const void* from, size_t bytes, CudaStream stream) -> int {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, of(stream));
  };
  api.cuda_error_string = [](int code) {
    return std::string(cudaGetErrorString(static_cast<cudaError_t>(code)));
  };
}

}  // namespace

NcclApi real_nccl_api() {
  NcclApi api;
  add_communicators(api);
  add_collectives(api);
  add_cuda(api);
  return api;
}

}  // namespace hone::parallel
