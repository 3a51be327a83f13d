#include "trainer/manifest.h"

#include <algorithm>
#include <cstddef>
#include <future>
#include <span>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;

constexpr const char* kFormatName = "hone-checkpoint";
constexpr int kFormatVersion = 1;

constexpr size_t kReadBytes = size_t{1} << 20;

uint64_t num_chunks(uint64_t num_bytes, uint64_t chunk_bytes) {
  return (num_bytes + chunk_bytes - 1) / chunk_bytes;
}

// Chunk `index` of files[file], of `num_bytes` bytes from `begin` on.
struct Chunk {
  size_t file = 0;
  size_t index = 0;
  uint64_t begin = 0, num_bytes = 0;
};

// The chunks of one part, in order.
std::vector<Chunk> chunks_of_part(const std::vector<ManifestFile>& files, int64_t part,
                                  int64_t num_parts, uint64_t chunk_bytes) {
  if (part < 0 || part >= num_parts) {
    fail(ErrorKind::kInternal, {.what = "no such part of the hashes",
                                .got = std::to_string(part),
                                .expected = "below " + std::to_string(num_parts)});
  }
  std::vector<Chunk> chunks;
  int64_t number = 0;
  for (size_t file = 0; file < files.size(); ++file) {
    const uint64_t size = files[file].num_bytes;
    for (uint64_t begin = 0; begin < size; begin += chunk_bytes, ++number) {
      if (number % num_parts != part) continue;
      chunks.push_back({file, static_cast<size_t>(begin / chunk_bytes), begin,
                        std::min(chunk_bytes, size - begin)});
    }
  }
  return chunks;
}

std::string hash_of(const core::ReadFile& file, const Chunk& chunk, std::span<std::byte> buffer) {
  core::Sha256 sha;
  for (uint64_t done = 0; done < chunk.num_bytes;) {
    const auto piece = buffer.first(std::min<uint64_t>(buffer.size(), chunk.num_bytes - done));
    file.read_at(chunk.begin + done, piece);
    sha.update({reinterpret_cast<const char*>(piece.data()), piece.size()});
    done += piece.size();
  }
  return sha.hex();
}

// The hashes of the chunks that are `thread` modulo num_threads in their list, into their places.
// Reads with a buffer of its own: what is hashed takes no memory of this process, however large the
// files are.
void hash_every(const fs::path& folder, const std::vector<ManifestFile>& files,
                const std::vector<Chunk>& chunks, size_t thread, size_t num_threads,
                std::vector<std::string>& hashes) {
  std::vector<std::byte> buffer(kReadBytes);
  core::ReadFile open_file;
  size_t open_number = files.size();
  for (size_t i = thread; i < chunks.size(); i += num_threads) {
    if (chunks[i].file != open_number) {
      open_file = core::ReadFile(folder / files[chunks[i].file].path);
      open_number = chunks[i].file;
    }
    hashes[i] = hash_of(open_file, chunks[i], buffer);
  }
}

// One core hashes about as much a second as a disk writes: two keep ahead of it.
std::vector<std::string> hashes_of(const fs::path& folder, const std::vector<ManifestFile>& files,
                                   const std::vector<Chunk>& chunks) {
  const size_t num_threads = std::min<size_t>(2, std::max<size_t>(1, chunks.size()));
  std::vector<std::string> hashes(chunks.size());
  std::vector<std::future<void>> threads;
  for (size_t thread = 0; thread < num_threads; ++thread) {
    threads.push_back(std::async(std::launch::async, [&, thread] {
      hash_every(folder, files, chunks, thread, num_threads, hashes);
    }));
  }
  for (auto& thread : threads) thread.wait();
  for (auto& thread : threads) thread.get();
  return hashes;
}

[[noreturn]] void fail_format(const fs::path& path, const std::string& what) {
  fail(ErrorKind::kBadInput, {.what = what, .where = path});
}

ManifestFile parse_file(const Json& json, const fs::path& where) {
  ManifestFile file;
  file.path = json.at("path").get<std::string>();
  file.num_bytes = json.at("bytes").get<uint64_t>();
  file.chunk_sha256 = json.at("sha256").get<std::vector<std::string>>();
  if (!core::is_safe_relative_path(file.path))
    fail_format(where, "unsafe path '" + file.path + "'");
  if (file.chunk_sha256.size() != num_chunks(file.num_bytes, kManifestChunkBytes))
    fail_format(where, "wrong number of hashes for " + file.path);
  return file;
}

void verify_size(const fs::path& path, uint64_t expected) {
  if (!fs::is_regular_file(path)) fail_format(path, "file is missing");
  const uint64_t size = fs::file_size(path);
  if (size == expected) return;
  fail(ErrorKind::kBadInput, {.what = "wrong size",
                              .where = path,
                              .got = std::to_string(size) + " bytes",
                              .expected = std::to_string(expected)});
}

}  // namespace

std::vector<ManifestFile> list_sizes(const fs::path& folder) {
  std::vector<ManifestFile> files;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      ManifestFile file{.path = entry.path().lexically_relative(folder).generic_string(),
                        .num_bytes = entry.file_size()};
      if (file.path != kManifestName) files.push_back(std::move(file));
    }
  } catch (const fs::filesystem_error& error) {
    core::fail_errno("can't list the files", folder, error.code().value());
  }
  std::ranges::sort(files, {}, &ManifestFile::path);
  return files;
}

std::vector<std::string> hash_share(const fs::path& folder, const std::vector<ManifestFile>& files,
                                    int64_t part, int64_t num_parts, uint64_t chunk_bytes) {
  return hashes_of(folder, files, chunks_of_part(files, part, num_parts, chunk_bytes));
}

void join_hashes(std::vector<ManifestFile>& files,
                 const std::vector<std::vector<std::string>>& shares, uint64_t chunk_bytes) {
  const auto num_parts = static_cast<int64_t>(shares.size());
  for (ManifestFile& file : files) {
    file.chunk_sha256.resize(num_chunks(file.num_bytes, chunk_bytes));
  }
  for (int64_t part = 0; part < std::max<int64_t>(num_parts, 1); ++part) {
    const std::vector<Chunk> chunks = chunks_of_part(files, part, num_parts, chunk_bytes);
    const std::vector<std::string>& share = shares[static_cast<size_t>(part)];
    if (share.size() != chunks.size()) {
      fail(ErrorKind::kInternal, {.what = "wrong number of hashes in a share",
                                  .where = "part " + std::to_string(part),
                                  .got = std::to_string(share.size()),
                                  .expected = std::to_string(chunks.size())});
    }
    for (size_t i = 0; i < chunks.size(); ++i) {
      files[chunks[i].file].chunk_sha256[chunks[i].index] = share[i];
    }
  }
}

std::vector<ManifestFile> list_files(const fs::path& folder, uint64_t chunk_bytes) {
  std::vector<ManifestFile> files = list_sizes(folder);
  join_hashes(files, {hash_share(folder, files, 0, 1, chunk_bytes)}, chunk_bytes);
  return files;
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  Json json;
  json["format"] = kFormatName;
  json["version"] = kFormatVersion;
  json["step"] = manifest.step;
  json["layout"] = parallel::layout_to_json(manifest.layout);
  json["identity"] = manifest.identity;
  json["chunk_bytes"] = kManifestChunkBytes;
  json["files"] = Json::array();
  for (const ManifestFile& file : manifest.files) {
    json["files"].push_back(
        Json{{"path", file.path}, {"bytes", file.num_bytes}, {"sha256", file.chunk_sha256}});
  }
  core::write_file_atomic(folder / kManifestName, core::dump_json(json));
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  const Json json = core::read_json_file(path);
  try {
    if (json.at("format") != kFormatName) fail_format(path, "not the manifest of a checkpoint");
    if (json.at("version") != kFormatVersion || json.at("chunk_bytes") != kManifestChunkBytes) {
      fail(ErrorKind::kBadInput, {.what = "checkpoint format of another version",
                                  .where = path,
                                  .got = json.at("version").dump(),
                                  .expected = std::to_string(kFormatVersion)});
    }
    Manifest manifest;
    manifest.step = json.at("step").get<int64_t>();
    manifest.layout = parallel::layout_from_json(json.at("layout"), path);
    manifest.identity = json.at("identity");
    for (const Json& file : json.at("files")) manifest.files.push_back(parse_file(file, path));
    return manifest;
  } catch (const Json::exception& error) {
    fail_format(path, std::string("not a valid manifest: ") + error.what());
  }
}

int64_t num_bytes_of(const fs::path& folder) {
  uint64_t num_bytes = 0;
  for (const ManifestFile& file : read_manifest(folder).files) num_bytes += file.num_bytes;
  return static_cast<int64_t>(num_bytes);
}

void verify_share(const fs::path& folder, const Manifest& manifest, int64_t part, int64_t num_parts,
                  uint64_t chunk_bytes) {
  for (const ManifestFile& file : manifest.files) {
    verify_size(folder / file.path, file.num_bytes);
  }
  const auto chunks = chunks_of_part(manifest.files, part, num_parts, chunk_bytes);
  const std::vector<std::string> hashes = hashes_of(folder, manifest.files, chunks);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const ManifestFile& file = manifest.files[chunks[i].file];
    if (hashes[i] == file.chunk_sha256.at(chunks[i].index)) continue;
    fail_format(folder / file.path, "content differs from the manifest in bytes " +
                                        std::to_string(chunks[i].begin) + " to " +
                                        std::to_string(chunks[i].begin + chunks[i].num_bytes));
  }
}

void verify_files(const fs::path& folder, const Manifest& manifest) {
  verify_share(folder, manifest, 0, 1);
}

}  // namespace hone::trainer
