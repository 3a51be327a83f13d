// formats_range_program PATH create|write PART NUM_PARTS: makes the planned file of
// tests/formats/ranges.h, or writes one process's part; ends with the error's exit code.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "tests/formats/ranges.h"

int main(int argc, char** argv) {
  using namespace hone::formats;  // NOLINT
  if (argc != 3 && argc != 5) return 2;
  try {
    const SafetensorsPlan plan = plan_safetensors(range_tensors());
    if (std::string(argv[2]) == "create") {
      create_planned_file(argv[1], plan);
    } else {
      RangeWriter writer(argv[1], plan);
      write_ranges(writer, plan, std::strtoull(argv[3], nullptr, 10),
                   std::strtoull(argv[4], nullptr, 10));
      writer.sync();
    }
    return 0;
  } catch (const hone::core::Error& error) {
    std::printf("%s\n", error.what());
    return error.exit_code();
  }
}
