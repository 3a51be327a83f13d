// Where the sources, the built programs and the big test inputs are. Kept out of compiler flags, so
// that a second checkout compiles the tests to the same bytes and ccache has them already.
#pragma once

namespace hone::test {

extern const char* const kSourceDir;
extern const char* const kBinaryDir;
extern const char* const kFaultShim;    // libfault_shim.so (tests/faults/shim.c)
extern const char* const kSmolLM2Gguf;  // fetched by cmake/setup.sh --model

}  // namespace hone::test
