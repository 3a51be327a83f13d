// Content-addressed large files below one folder: ab/cd/<sha256>, shared by all repositories of a
// store. An object is written under a temporary name, hashed on the way, synced, and renamed; it is
// never changed afterwards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/large_file.h"

namespace hone::hub {

// Called now and then while a file is copied: its name, bytes done, bytes in all.
using Progress = std::function<void(const std::string& name, uint64_t done, uint64_t total)>;

class ContentStore {
 public:
  ContentStore(std::filesystem::path objects, std::filesystem::path temporary);

  std::filesystem::path path_of(const LargePointer& pointer) const;
  // Whether the object is there with its whole size.
  bool has(const LargePointer& pointer) const;
  // Copies `source` in. An object that is there with another size is replaced. Throws
  // kMissingInput, kIo.
  LargePointer put_file(const std::filesystem::path& source, const std::string& name,
                        const Progress& progress);
  LargePointer put_bytes(std::string_view bytes);

 private:
  void keep(const std::filesystem::path& temporary, const LargePointer& pointer);

  std::filesystem::path objects_, temporary_;
};

// A name in `folder` no other process uses.
std::filesystem::path unique_name(const std::filesystem::path& folder);
// Removes what a killed process left in `folder` more than a day ago.
void sweep_temporary(const std::filesystem::path& folder);

}  // namespace hone::hub
