// SHA-256 (large files, caches, manifests) and SHA-1 (git object names), by OpenSSL.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hone::core {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  void update(std::string_view bytes);
  std::string hex();  // ends the computation; 64 lower-case characters

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& path);
// The name git gives a blob: sha1("blob <size>\0" + bytes), 40 lower-case characters.
std::string git_blob_sha1(std::string_view bytes);

}  // namespace hone::core
