#include "trainer/manifest.h"

#include <algorithm>

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

std::vector<std::string> chunk_hashes(const fs::path& path, uint64_t& num_bytes) {
  const core::MappedFile file(path);
  const std::string_view text = file.text();
  num_bytes = text.size();
  std::vector<std::string> hashes;
  for (uint64_t offset = 0; offset < text.size(); offset += kManifestChunkBytes) {
    hashes.push_back(core::sha256_hex(text.substr(offset, kManifestChunkBytes)));
  }
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
  const uint64_t num_chunks = (file.num_bytes + kManifestChunkBytes - 1) / kManifestChunkBytes;
  if (file.chunk_sha256.size() != num_chunks)
    fail_format(where, "wrong number of hashes for " + file.path);
  return file;
}

void verify_file(const fs::path& folder, const ManifestFile& expected) {
  const fs::path path = folder / expected.path;
  if (!fs::is_regular_file(path)) fail_format(path, "file is missing");
  const uint64_t size = fs::file_size(path);
  if (size != expected.num_bytes) {
    fail(ErrorKind::kBadInput, {.what = "wrong size",
                                .where = path,
                                .got = std::to_string(size) + " bytes",
                                .expected = std::to_string(expected.num_bytes)});
  }
  uint64_t num_bytes = 0;
  const auto hashes = chunk_hashes(path, num_bytes);
  const auto bad = std::ranges::mismatch(hashes, expected.chunk_sha256);
  if (bad.in1 == hashes.end() && bad.in2 == expected.chunk_sha256.end()) return;
  const uint64_t begin = static_cast<uint64_t>(bad.in1 - hashes.begin()) * kManifestChunkBytes;
  fail_format(path, "content differs from the manifest in bytes " + std::to_string(begin) + " to " +
                        std::to_string(std::min(begin + kManifestChunkBytes, num_bytes)));
}

}  // namespace

std::vector<ManifestFile> list_files(const fs::path& folder) {
  std::vector<ManifestFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    ManifestFile file{.path = entry.path().lexically_relative(folder).generic_string()};
    if (file.path == kManifestName) continue;
    file.chunk_sha256 = chunk_hashes(entry.path(), file.num_bytes);
    files.push_back(std::move(file));
  }
  std::ranges::sort(files, {}, &ManifestFile::path);
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

void verify_files(const fs::path& folder, const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files) verify_file(folder, file);
}

}  // namespace hone::trainer
