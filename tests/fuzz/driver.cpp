// libFuzzer's entry for one target: HONE_FUZZ_FUNCTION is its function.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    hone::fuzz::HONE_FUZZ_FUNCTION({reinterpret_cast<const char*>(data), size});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "a target was left by an exception: %s\n", e.what());
    std::abort();
  }
  return 0;
}
