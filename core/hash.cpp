#include "core/hash.h"

#include <openssl/evp.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "core/error.h"

namespace hone::core {
namespace {

std::string to_hex(const unsigned char* bytes, unsigned size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * size);
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

void require(int ok) {
  if (ok != 1) fail(ErrorKind::kInternal, {.what = "OpenSSL digest failed"});
}

}  // namespace

struct Sha256::State {
  explicit State(const EVP_MD* kind) : context(EVP_MD_CTX_new()) {
    require(context != nullptr);
    require(EVP_DigestInit_ex(context, kind, nullptr));
  }
  ~State() { EVP_MD_CTX_free(context); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    require(EVP_DigestFinal_ex(context, digest, &size));
    return to_hex(digest, size);
  }
  EVP_MD_CTX* context;
};

Sha256::Sha256() : state_(std::make_unique<State>(EVP_sha256())) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

std::string Sha256::hex() { return state_->hex(); }

std::string sha256_hex(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  // Read, not mapped: the pages of a map count as this process's memory.
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno("can't read", path.string(), errno);
  Sha256 digest;
  std::vector<char> piece(size_t{1} << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0)
    digest.update({piece.data(), static_cast<size_t>(file.gcount())});
  if (file.bad()) fail_errno("can't read", path.string(), errno);
  return digest.hex();
}

std::string git_blob_sha1(std::string_view bytes) {
  const std::string header = "blob " + std::to_string(bytes.size()) + '\0';
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  require(context != nullptr);
  require(EVP_DigestInit_ex(context, EVP_sha1(), nullptr));
  require(EVP_DigestUpdate(context, header.data(), header.size()));
  require(EVP_DigestUpdate(context, bytes.data(), bytes.size()));
  require(EVP_DigestFinal_ex(context, digest, &size));
  EVP_MD_CTX_free(context);
  return to_hex(digest, size);
}

}  // namespace hone::core
