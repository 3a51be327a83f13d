// Run under mpirun by mpirun.cpp: `comm_mpi_program SCENARIO`. Any failure on any rank ends all
// with code 1.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/checked.h"
#include "parallel/comm/communicator.h"
#include "tests/comm/conformance.h"
#include "tests/comm/mesh_case.h"

namespace {

using namespace hone;            // NOLINT
using namespace hone::parallel;  // NOLINT

void conform(Communicator& comm) {
  for (const auto& conformance : test::conformance_cases()) {
    conformance.run(comm);
    comm.barrier();
    if (comm.rank() == 0) std::printf("ok %s\n", conformance.name.c_str());
  }
}

// Every rank prints its error; the run ends when all had time to.
void expect_error(Communicator& comm, Communicator& broken, void (*calls)(Communicator&)) {
  try {
    calls(broken);
  } catch (const core::Error& error) {
    std::printf("rank %d: exit %d: %s\n", comm.rank(), error.exit_code(), error.what());
    return;
  }
  throw std::runtime_error("nothing was found wrong");
}

void different_operations(Communicator& comm) {
  std::vector<float> data(12), all(48);
  if (comm.rank() == 1) {
    comm.all_gather(data.data(), all.data(), 3, DType::kFloat32);
  } else {
    comm.all_reduce(data.data(), data.data(), 12, DType::kFloat32);
  }
}

void one_calls_nothing(Communicator& comm) {
  if (comm.rank() == comm.size() - 1) {
    core::fail(core::ErrorKind::kInternal, {.what = "on its own"});
  }
  comm.barrier();
}

void check_meshes(const Communicator& world) {
  for (int64_t size = 1; size <= world.size(); ++size) {
    if (world.size() % size != 0) continue;
    const int64_t rest = world.size() / size;
    test::check_mesh(world, {.dp_replicate = rest, .dp_shard = size});
    test::check_mesh(world, {.cp = rest, .tp = size});
    test::check_mesh(world, {.dp_shard = rest, .pp = size});
  }
}

// One rank has an error, all throw it and end with its code.
int fail_together(Communicator& comm) {
  together(comm, [] {});
  try {
    together(comm, [&] {
      if (comm.rank() != 1) return;
      core::fail(core::ErrorKind::kBadInput, {.what = "no \"rows\"", .where = "a.jsonl:3"});
    });
  } catch (const AgreedError& error) {
    std::printf("on rank %d: %s\n", comm.rank(), error.what());
    std::fflush(stdout);
    comm.finish();
    return error.exit_code();
  }
  throw std::runtime_error("nobody failed");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  if (scenario == "pieces") {  // many pieces and slices, of sizes that no element count divides
    Communicator comm(make_mpi({.piece_bytes = 24, .slice_bytes = 16, .slices = 3}));
    std::vector<double> in(1001, comm.rank() + 1), out(in.size());
    comm.all_reduce(in.data(), out.data(), 1001, DType::kFloat64);
    std::vector<double> all(in.size() * static_cast<size_t>(comm.size()));
    comm.all_gather(in.data(), all.data(), 1001, DType::kFloat64);
    comm.broadcast(in.data(), 1001, DType::kFloat64, comm.size() - 1);
    const double sum = comm.size() * (comm.size() + 1) / 2.0;
    for (size_t i = 0; i < in.size(); ++i) {
      if (out[i] != sum || in[i] != comm.size() || all[i] != 1) comm.abort(1, "pieces got lost");
    }
    comm.finish();
    return 0;
  }
  Communicator comm = make_communicator("auto");
  try {
    if (comm.backend_name() != "mpi") throw std::runtime_error("auto did not find mpirun");
    const std::chrono::milliseconds timeout(scenario == "silent" ? 2000 : 60000);
    Communicator watched = checked(comm, {.timeout = timeout});
    if (scenario == "conform") {
      conform(comm);
      conform(watched);
    } else if (scenario == "abort") {
      if (comm.rank() == 1) comm.abort(76, "rank 1 gives up");
      comm.barrier();
    } else if (scenario == "dropped") {  // rank 1 leaves a collective by an exception, then goes on
      std::vector<float> data(4096);
      try {
        const Request request =
            comm.start_all_reduce(data.data(), data.data(), 4096, DType::kFloat32);
        if (comm.rank() == 1) throw std::runtime_error("on the way out");
      } catch (const std::runtime_error&) {
      }
      try {
        comm.barrier();
      } catch (const core::Error& error) {
        comm.abort(error.exit_code(), error.what());
      }
    } else if (scenario == "exit") {
      if (comm.rank() == 1) ::_exit(77);
      comm.barrier();
    } else if (scenario == "wrong size") {
      std::vector<float> data(8);
      if (comm.rank() == 0) comm.send(data.data(), 4, DType::kFloat32, 1);
      if (comm.rank() == 1) {
        try {
          comm.recv(data.data(), 8, DType::kFloat32, 0);
        } catch (const core::Error& error) {
          std::printf("%s\n", error.what());
        }
      }
    } else if (scenario == "mesh") {
      check_meshes(comm);
      check_meshes(watched);
    } else if (scenario == "together") {
      return fail_together(comm);
    } else if (scenario == "mismatch") {
      expect_error(comm, watched, different_operations);
    } else if (scenario == "silent") {
      expect_error(comm, watched, one_calls_nothing);
      comm.barrier();  // the silent one is here too, beside the broken communicator
    } else {
      throw std::runtime_error("no such scenario");
    }
    comm.finish();
    return 0;
  } catch (const std::exception& error) {
    comm.abort(1, "rank " + std::to_string(comm.rank()) + ": " + error.what());
  }
}
