// A safetensors file: what is accepted is tiled exactly and survives being written and read again.
#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>

#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

using formats::SafetensorsFile;
using formats::TensorEntry;

void check_round_trip(const SafetensorsFile& file) {
  std::vector<formats::TensorSpec> specs;
  for (const TensorEntry& t : file.tensors()) specs.push_back({t.name, t.dtype, t.shape});
  const auto path = scratch_folder() / "again.safetensors";
  formats::SafetensorsWriter writer(path, formats::plan_safetensors(specs, file.metadata()));
  for (const TensorEntry& t : file.tensors()) writer.write(t.name, file.bytes(t));
  writer.commit();
  const SafetensorsFile again = SafetensorsFile::open(path);
  require(again.metadata() == file.metadata(), "metadata changed");
  require(again.tensors().size() == file.tensors().size(), "tensors were lost");
  for (const TensorEntry& t : file.tensors()) {
    const TensorEntry* other = again.find(t.name);
    require(other != nullptr && other->dtype == t.dtype && other->shape == t.shape,
            "a tensor changed: " + t.name);
    require(std::ranges::equal(file.bytes(t), again.bytes(*other)), "bytes changed: " + t.name);
  }
}

void read(std::string_view bytes) {
  const auto path = write_scratch("input.safetensors", bytes);
  accepts([&] { check_round_trip(SafetensorsFile::open(path)); });
}

}  // namespace

void fuzz_safetensors(std::string_view input) {
  read(input);
  // Mutations break the length in front first: the same bytes with a length that fits a header.
  const size_t end = input.rfind('}');
  if (input.size() < 8 || end == std::string_view::npos || end < 8) return;
  std::string fitted(input);
  const uint64_t size = end + 1 - 8;
  std::memcpy(fitted.data(), &size, sizeof size);
  read(fitted);
}

}  // namespace hone::fuzz
