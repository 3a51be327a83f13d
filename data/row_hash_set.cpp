#include "data/row_hash_set.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/error.h"
#include "core/hash.h"

namespace hone::data {
namespace {

constexpr size_t kFirstSlots = size_t{1} << 16;

// As hexadecimal text, from its place on.
uint64_t word_at(const std::string& hex, size_t place) {
  return std::stoull(hex.substr(place, 16), nullptr, 16);
}

// The slot of `hash`, or the empty one where it belongs.
size_t find_slot(const RowHash* table, size_t num_slots, const RowHash& hash) {
  size_t slot = hash[0] & (num_slots - 1);
  while (table[slot] != RowHash{} && table[slot] != hash) slot = (slot + 1) & (num_slots - 1);
  return slot;
}

}  // namespace

RowHash hash_of(const Row& row) {
  nlohmann::json canonical;  // sorts keys
  if (const auto* chat = std::get_if<ChatRow>(&row)) {
    canonical = {nlohmann::json(chat->messages), nlohmann::json(chat->extra),
                 chat->num_prompt_messages};
    for (const auto& flag : chat->train) canonical.push_back(flag ? (*flag ? 1 : 0) : -1);
  } else {
    const TextRow& text = std::get<TextRow>(row);
    canonical = {text.prompt, text.completion};
  }
  const std::string hex = core::sha256_hex(canonical.dump());
  RowHash hash{word_at(hex, 0), word_at(hex, 16)};
  if (hash == RowHash{}) hash[0] = 1;
  return hash;
}

RowHashSet::RowHashSet(const std::filesystem::path& folder)
    : folder_(folder), table_(map_table(kFirstSlots)), num_slots_(kFirstSlots) {}

RowHashSet::~RowHashSet() { ::munmap(table_, num_slots_ * sizeof(RowHash)); }

RowHash* RowHashSet::map_table(size_t num_slots) const {
  std::string path = (folder_ / "seen.XXXXXX").string();
  const int file = ::mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) core::fail_errno("can't create", path, errno);
  ::unlink(path.c_str());
  const auto size = static_cast<off_t>(num_slots * sizeof(RowHash));
  void* map = MAP_FAILED;
  // Allocated, not only sized: a full disk is an error here, and not a signal at some later write.
  int error_number = ::posix_fallocate(file, 0, size);
  if (error_number == 0) {
    map = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) error_number = errno;
  }
  ::close(file);
  if (error_number != 0)
    core::fail_errno("can't hold the hashes of the rows in", path, error_number);
  return static_cast<RowHash*>(map);
}

bool RowHashSet::insert(const RowHash& hash) {
  const size_t slot = find_slot(table_, num_slots_, hash);
  if (table_[slot] == hash) return false;
  table_[slot] = hash;
  if (++num_used_ > num_slots_ / 4 * 3) grow();
  return true;
}

void RowHashSet::grow() {
  const size_t num_slots = num_slots_ * 2;
  RowHash* table = map_table(num_slots);
  for (size_t i = 0; i < num_slots_; ++i) {
    if (table_[i] != RowHash{}) table[find_slot(table, num_slots, table_[i])] = table_[i];
  }
  ::munmap(table_, num_slots_ * sizeof(RowHash));
  table_ = table;
  num_slots_ = num_slots;
}

}  // namespace hone::data
