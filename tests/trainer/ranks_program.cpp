// Run under mpirun by ranks_mpi_test.cpp: `ranks_program CASE...` prints a line for each, the
// outcome of rank 0.
#include <cstdio>

#include "core/error.h"
#include "parallel/comm/backend.h"
#include "tests/trainer/ranks_case.h"

int main(int argc, char** argv) {
  using namespace hone;  // NOLINT
  parallel::Communicator world(parallel::make_mpi());
  try {
    const auto cases = trainer::all_ranks_cases();
    for (int i = 1; i < argc; ++i) {
      const trainer::RanksCase* wanted = trainer::find_ranks_case(cases, argv[i]);
      if (wanted == nullptr) core::fail(core::ErrorKind::kUsage, {.what = argv[i]});
      const trainer::RanksCase own = world.size() == 1 ? wanted->on_one_rank() : *wanted;
      const std::string text = to_text(trainer::run_ranks_case(world, own));
      if (world.rank() == 0) std::printf("%s\n", text.c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", world.rank(), error.what());
    return 1;
  }
  world.finish();
  return 0;
}
