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

// Files under `folder` but the manifest itself, by path, with sizes and without hashes. Throws kIo,
// kMissingInput.
std::vector<ManifestFile> list_sizes(const std::filesystem::path& folder);

// The work of hashing, split over processes that see the same folder: chunks are numbered through
// all of `files` in their order, and process `part` of `num_parts` has those whose number is `part`
// modulo `num_parts`. Returns the hashes of this part's chunks, in order. Throws kIo,
// kMissingInput.
std::vector<std::string> hash_share(const std::filesystem::path& folder,
                                    const std::vector<ManifestFile>& files, int64_t part,
                                    int64_t num_parts, uint64_t chunk_bytes = kManifestChunkBytes);

// Puts the shares of all parts, by part, together into files[].chunk_sha256. Throws kInternal when
// a share has another number of hashes than it must.
void join_hashes(std::vector<ManifestFile>& files,
                 const std::vector<std::vector<std::string>>& shares,
                 uint64_t chunk_bytes = kManifestChunkBytes);

// Sizes and hashes of every file under `folder` but the manifest itself. Throws kIo, kMissingInput.
std::vector<ManifestFile> list_files(const std::filesystem::path& folder,
                                     uint64_t chunk_bytes = kManifestChunkBytes);

// Atomic and durable.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

// Reads manifest.json; throws kMissingInput when it is not there, kBadInput when it is not a
// manifest.
Manifest read_manifest(const std::filesystem::path& folder);

// The bytes of all files that the folder's manifest lists. Throws as read_manifest.
int64_t num_bytes_of(const std::filesystem::path& folder);

// Compares size and presence of every listed file, then the hashes of this part's chunks (as in
// hash_share), one file after the other. Throws kBadInput naming the first file that differs and
// how (missing, size, byte range of the chunk), kIo. Files the manifest does not list are ignored.
void verify_share(const std::filesystem::path& folder, const Manifest& manifest, int64_t part,
                  int64_t num_parts, uint64_t chunk_bytes = kManifestChunkBytes);

// verify_share of everything.
void verify_files(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace hone::trainer
