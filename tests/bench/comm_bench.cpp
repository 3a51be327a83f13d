// comm_bench [--threads N | --mpi SLICE_KIB SLICES]: megabytes of a rank's buffer per second for
// reductions and gathers, by backend (mpirun -np N comm_bench, or N threads of this process). For
// MPI also what MPI itself offers for the same reduction: MPI_Allreduce for float32, and for
// bfloat16 the two ways it has, a user operation and staging in float32.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/threads.h"
#ifdef HONE_BENCH_MPI
#include <mpi.h>
#endif

namespace {

using namespace hone::parallel;  // NOLINT
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// MB/s of `bytes` moved by one call: in the best and in the median call. A call takes as long as on
// the slowest rank.
struct Rate {
  double best = 0, median = 0;
};

Rate rate(Communicator& comm, int64_t bytes, const std::function<void()>& call) {
  std::vector<double> took;
  const auto start = Clock::now();
  double goes_on = 1;
  while (goes_on > 0 || took.size() < 5) {
    comm.barrier();
    const auto begin = Clock::now();
    call();
    double slowest = seconds_since(begin);
    comm.all_reduce(&slowest, &slowest, 1, DType::kFloat64, ReduceOp::kMax);
    took.push_back(slowest);
    goes_on = seconds_since(start) < 0.4 ? 1 : 0;
    comm.broadcast(&goes_on, 1, DType::kFloat64, 0);
  }
  std::sort(took.begin(), took.end());
  const double megabytes = static_cast<double>(bytes) / 1e6;
  return {megabytes / took.front(), megabytes / took[took.size() / 2]};
}

#ifdef HONE_BENCH_MPI
void sum_bfloat16(void* in, void* inout, int* length, MPI_Datatype*) {
  const auto* a = static_cast<const uint16_t*>(in);
  auto* b = static_cast<uint16_t*>(inout);
  for (int i = 0; i < *length; ++i) {
    b[i] = float_to_bfloat16(bfloat16_to_float(a[i]) + bfloat16_to_float(b[i]));
  }
}

void staged_bfloat16(uint16_t* data, int64_t count) {
  constexpr int64_t kChunk = 1 << 18;
  static std::vector<float> staging(kChunk);
  for (int64_t at = 0; at < count; at += kChunk) {
    const int64_t n = std::min(kChunk, count - at);
    for (int64_t i = 0; i < n; ++i) {
      staging[static_cast<size_t>(i)] = bfloat16_to_float(data[at + i]);
    }
    MPI_Allreduce(MPI_IN_PLACE, staging.data(), static_cast<int>(n), MPI_FLOAT, MPI_SUM,
                  MPI_COMM_WORLD);
    for (int64_t i = 0; i < n; ++i) {
      data[at + i] = float_to_bfloat16(staging[static_cast<size_t>(i)]);
    }
  }
}

void mpi_lines(Communicator& comm, std::byte* data, int64_t bytes,
               const std::function<void(const char*, Rate)>& print) {
  MPI_Op op = MPI_OP_NULL;
  MPI_Op_create(sum_bfloat16, 1, &op);
  print("MPI_Allreduce float32", rate(comm, bytes, [&] {
          MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(bytes / 4), MPI_FLOAT, MPI_SUM,
                        MPI_COMM_WORLD);
        }));
  print("MPI_Iallreduce float32", rate(comm, bytes, [&] {
          MPI_Request request = MPI_REQUEST_NULL;
          MPI_Iallreduce(MPI_IN_PLACE, data, static_cast<int>(bytes / 4), MPI_FLOAT, MPI_SUM,
                         MPI_COMM_WORLD, &request);
          MPI_Wait(&request, MPI_STATUS_IGNORE);
        }));
  print("MPI_Allreduce bfloat16, user op", rate(comm, bytes, [&] {
          MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(bytes / 2), MPI_UINT16_T, op,
                        MPI_COMM_WORLD);
        }));
  print("MPI_Allreduce bfloat16, staged",
        rate(comm, bytes, [&] { staged_bfloat16(reinterpret_cast<uint16_t*>(data), bytes / 2); }));
  MPI_Op_free(&op);
}
#endif

void bench(Communicator& comm) {
  for (const int64_t kib : {64, 1024, 4096, 16384, 65536}) {
    const int64_t bytes = kib << 10;
    std::vector<std::byte> data(static_cast<size_t>(bytes));
    std::vector<std::byte> part(static_cast<size_t>(bytes / comm.size()));
    const auto print = [&](const char* name, Rate found) {
      if (comm.rank() == 0) {
        std::printf("%-34s %6lld KiB %8.0f MB/s best %8.0f median\n", name,
                    static_cast<long long>(bytes >> 10), found.best, found.median);
        std::fflush(stdout);
      }
    };
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      const auto line = [&](const char* name, const std::function<void()>& call) {
        print((std::string(name) + " " + dtype_name(dtype)).c_str(), rate(comm, bytes, call));
      };
      const int64_t count = bytes / static_cast<int64_t>(dtype_size(dtype));
      const int64_t each = count / comm.size();
      line("all_reduce", [&] { comm.all_reduce(data.data(), data.data(), count, dtype); });
      line("reduce_scatter", [&] { comm.reduce_scatter(data.data(), part.data(), each, dtype); });
      line("all_gather", [&] { comm.all_gather(part.data(), data.data(), each, dtype); });
    }
#ifdef HONE_BENCH_MPI
    if (comm.backend_name() == "mpi") mpi_lines(comm, data.data(), bytes, print);
#endif
  }
}

// About a millisecond of a step's work: sums over memory that fits a cache.
double compute(std::vector<float>& work) {
  float sum = 0;
  for (int round = 0; round < 16; ++round) {
    for (float& x : work) x = x * 0.999F + 0.001F;
    sum += work[static_cast<size_t>(round)];
  }
  return sum;
}

// What is left to wait for when 64 MiB are reduced beside computing, with poll() between kernels.
void bench_overlap(Communicator& comm) {
  std::vector<float> data(16 << 20), work(1 << 16);
  const auto count = static_cast<int64_t>(data.size());
  double sink = 0;
  for (const bool beside : {false, true}) {
    double best = 1e300, exposed = 0;
    for (int i = 0; i < 10; ++i) {
      comm.barrier();
      const auto start = Clock::now();
      Request request;
      if (beside) request = comm.start_all_reduce(data.data(), data.data(), count, DType::kFloat32);
      for (int kernel = 0; kernel < 100; ++kernel) {
        sink += compute(work);
        if (beside) comm.poll();
      }
      const auto computed = Clock::now();
      if (!beside)
        request = comm.start_all_reduce(data.data(), data.data(), count, DType::kFloat32);
      request.wait();
      const double took = seconds_since(start);
      if (took < best) {
        best = took;
        exposed = seconds_since(computed);
      }
    }
    if (comm.rank() == 0) {
      std::printf("%-45s %6.1f ms, %5.1f of them waiting\n",
                  beside ? "64 MiB all_reduce beside computing, poll()"
                         : "computing, then 64 MiB all_reduce",
                  best * 1e3, exposed * 1e3);
    }
  }
  if (sink == 0.5) std::printf("\n");  // keeps the work
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--threads") {
    run_ranks(std::atoi(argv[2]), bench);
    return 0;
  }
  if (argc == 4 && std::string(argv[1]) == "--mpi") {  // slices in KiB, and how many under way
    Communicator comm(
        make_mpi({.slice_bytes = std::atoll(argv[2]) << 10, .slices = std::atoi(argv[3])}));
    bench(comm);
    comm.finish();
    return 0;
  }
  Communicator comm = make_communicator();
  bench(comm);
  bench_overlap(comm);
  comm.finish();
}
