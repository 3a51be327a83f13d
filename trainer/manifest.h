// manifest.json of a checkpoint: what must be there, bit for bit, for the folder to be trusted.
// docs/checkpoint_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "parallel/layout.h"

namespace hone::trainer {

inline constexpr uint64_t kManifestChunkBytes = uint64_t{64} << 20;
inline constexpr const char* kManifestName = "manifest.json";

struct ManifestFile {
  std::string path;  // relative, with '/'
  uint64_t num_bytes = 0;
  std::vector<std::string>
      chunk_sha256;  // one a chunk of kManifestChunkBytes; none for an empty file
};

struct Manifest {
  int64_t step = 0;
  parallel::Layout layout;
  core::Json identity;
  std::vector<ManifestFile> files;  // by path
};

// Sizes and hashes of every file under `folder` but the manifest itself. Throws kIo, kMissingInput.
std::vector<ManifestFile> list_files(const std::filesystem::path& folder);

// Atomic and durable.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

// Reads manifest.json; throws kMissingInput when it is not there, kBadInput when it is not a
// manifest.
Manifest read_manifest(const std::filesystem::path& folder);

// Reads every listed file and compares sizes and hashes. Throws kBadInput naming the first file
// that differs and how (missing, size, byte range of the chunk). Files the manifest does not list
// are ignored.
void verify_files(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace hone::trainer
