#include "tests/support/paths.h"

namespace hone::test {

const char* const kSourceDir = HONE_SOURCE_DIR;
const char* const kBinaryDir = HONE_BINARY_DIR;
const char* const kFaultShim = HONE_FAULT_SHIM;
const char* const kSmolLM2Gguf = HONE_SMOLLM2_GGUF;

}  // namespace hone::test
