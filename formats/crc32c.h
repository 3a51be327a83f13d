// CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace hone::formats {

uint32_t crc32c(std::string_view bytes);

}  // namespace hone::formats
