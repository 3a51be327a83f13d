// Linked with the twin that stands for MPI in a build without it: asks for the backend in argv[1]
// and ends with the error's exit code.
#include <cstdio>

#include "core/error.h"
#include "parallel/comm/communicator.h"

int main(int argc, char** argv) {
  try {
    const auto comm = hone::parallel::make_communicator(argc > 1 ? argv[1] : "auto");
    std::printf("%s\n", comm.backend_name().c_str());
    return 0;
  } catch (const hone::core::Error& error) {
    std::printf("%s\n", error.what());
    return error.exit_code();
  }
}
