// Proves that the real NCCL is linked: its unique id needs no GPU. With an argument it makes the
// backend, which does.
#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/nccl_api.h"

int main(int argc, char**) {
  using namespace hone;  // NOLINT
  try {
    const parallel::NcclApi api = parallel::real_nccl_api();
    parallel::NcclId id{};
    const int code = api.get_unique_id(&id);
    if (code != parallel::kNcclSuccess) {
      core::fail(core::ErrorKind::kInternal, {.what = api.nccl_error_string(code)});
    }
    const bool empty = std::all_of(id.begin(), id.end(), [](char c) { return c == 0; });
    std::printf("ncclGetUniqueId: %s\n", empty ? "empty" : "an id");
    if (argc > 1) {
      auto comm = parallel::make_communicator("nccl");
      comm.barrier();
      comm.finish();
      std::printf("a communicator of %d ranks\n", comm.size());
    }
    return empty ? 1 : 0;
  } catch (const core::Error& error) {
    std::printf("%s\n", error.what());
    return error.exit_code();
  }
}
