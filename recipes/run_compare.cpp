#include "recipes/run_compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/text.h"
#include "formats/safetensors.h"
#include "recipes/run_rows.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;
using formats::SafetensorsFile;
using formats::TensorEntry;

constexpr const char* kAbsent = "(absent)";

std::string value_text(const Json& row, const std::string& key) {
  return row.contains(key) ? core::excerpt(row.at(key).dump(), 200) : kAbsent;
}

// Rows of one step and kind, in order.
using RowPlaces = std::map<std::pair<int64_t, bool>, std::vector<Json>>;

RowPlaces by_place(const std::vector<Json>& rows) {
  RowPlaces places;
  for (const Json& row : rows)
    places[{row.at("step").get<int64_t>(), is_eval_row(row)}].push_back(row);
  return places;
}

std::optional<RunDifference> compare_row(const Json& first, const Json& second,
                                         const std::string& place) {
  std::vector<std::string> keys;
  for (const Json* row : {&first, &second}) {
    for (const auto& [key, unused] : row->items()) {
      if (!is_clock_key(key) && std::find(keys.begin(), keys.end(), key) == keys.end())
        keys.push_back(key);
    }
  }
  for (const std::string& key : keys) {
    // dump() writes the shortest text that reads back as the same double.
    const std::string a = value_text(first, key), b = value_text(second, key);
    if (first.contains(key) && second.contains(key) && first.at(key) == second.at(key)) continue;
    return RunDifference{std::string(place).append(", ").append(key), a, b};
  }
  return std::nullopt;
}

struct WeightFolder {
  std::vector<SafetensorsFile> files;
  std::string sha256;
  const TensorEntry* find(const std::string& name, const SafetensorsFile*& owner) const {
    for (const SafetensorsFile& file : files) {
      owner = &file;
      if (const TensorEntry* entry = file.find(name)) return entry;
    }
    return nullptr;
  }
};

WeightFolder open_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  WeightFolder result;
  core::Sha256 hash;
  for (const fs::path& path : paths) {
    hash.update(path.filename().string() + "\n" + core::sha256_file(path) + "\n");
    result.files.push_back(SafetensorsFile::open(path));
  }
  result.sha256 = paths.size() == 1 ? core::sha256_file(paths.front()) : hash.hex();
  return result;
}

template <typename T>
T element(std::span<const std::byte> bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

double value_at(std::span<const std::byte> bytes, formats::Dtype dtype, size_t index) {
  switch (dtype) {
    case formats::Dtype::kF64:
      return element<double>(bytes, index);
    case formats::Dtype::kF32:
      return element<float>(bytes, index);
    case formats::Dtype::kBF16:
      return formats::bf16_to_f32(element<uint16_t>(bytes, index));
    case formats::Dtype::kF16:
      return formats::f16_to_f32(element<uint16_t>(bytes, index));
    default:  // nothing that is trained: equal or not is all there is to say
      return std::numeric_limits<double>::quiet_NaN();
  }
}

struct ElementDifference {
  size_t first_index = 0;  // of the first element that differs
  double first = 0, second = 0;
  double largest = 0;  // NaN if one is not a number or of no float type
};

ElementDifference compare_elements(std::span<const std::byte> a, std::span<const std::byte> b,
                                   formats::Dtype dtype) {
  const size_t size = static_cast<size_t>(formats::dtype_bits(dtype)) / 8;
  ElementDifference result;
  bool found = false;
  for (size_t i = 0; size > 0 && (i + 1) * size <= a.size(); ++i) {
    if (std::memcmp(a.data() + i * size, b.data() + i * size, size) == 0) continue;
    const double x = value_at(a, dtype, i), y = value_at(b, dtype, i);
    if (!found) {
      result = {.first_index = i, .first = x, .second = y, .largest = std::abs(x - y)};
      found = true;
    }
    const double difference = std::abs(x - y);
    if (!(difference <= result.largest)) result.largest = difference;
  }
  return result;
}

std::string number(double value) { return Json(value).dump(); }

// One tensor of both folders; nullopt when equal.
std::optional<RunDifference> compare_tensor(const SafetensorsFile& file, const TensorEntry& entry,
                                            const WeightFolder& other, double& largest) {
  const std::string where = file.path().filename().string() + ", tensor \"" + entry.name + "\"";
  const auto describe = [](const TensorEntry& t) {
    return std::string(formats::dtype_name(t.dtype)) + " " + formats::format_shape(t.shape);
  };
  const SafetensorsFile* owner = nullptr;
  const TensorEntry* match = other.find(entry.name, owner);
  if (match == nullptr) return RunDifference{where, describe(entry), kAbsent};
  if (match->dtype != entry.dtype || match->shape != entry.shape)
    return RunDifference{where, describe(entry), describe(*match)};
  const auto a = file.bytes(entry), b = owner->bytes(*match);
  if (std::ranges::equal(a, b)) return std::nullopt;
  const ElementDifference elements = compare_elements(a, b, entry.dtype);
  largest = elements.largest;
  return RunDifference{where + ", element " + std::to_string(elements.first_index),
                       number(elements.first), number(elements.second)};
}

}  // namespace

bool is_clock_key(std::string_view key) {
  constexpr std::array<std::string_view, 10> kParts = {
      "per_second", "seconds", "time", "bytes", "memory",
      "rss",        "flops",   "mfu",  "share", "communication"};
  return std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
    return key.find(part) != std::string_view::npos;
  });
}

RowsComparison compare_rows(const fs::path& first, const fs::path& second, const std::string& name,
                            int64_t last_step) {
  const std::vector<Json> rows = RowReader(first / name).new_rows();
  const RowPlaces others = by_place(RowReader(second / name).new_rows());
  std::map<std::pair<int64_t, bool>, size_t> used;
  RowsComparison result;
  for (const Json& row : rows) {
    const auto step = row.at("step").get<int64_t>();
    if (step > last_step) continue;
    const std::pair place{step, is_eval_row(row)};
    const std::string where =
        name + ", step " + std::to_string(step) + (place.second ? " (evaluation)" : "");
    const auto found = others.find(place);
    const size_t index = used[place]++;
    if (found == others.end() || index >= found->second.size()) {
      result.difference = {where, core::excerpt(row.dump(), 200), kAbsent};
      return result;
    }
    ++result.num_rows;
    result.difference = compare_row(row, found->second[index], where);
    if (result.difference) return result;
  }
  return result;
}

WeightsComparison compare_weights(const fs::path& first, const fs::path& second) {
  const WeightFolder a = open_folder(first), b = open_folder(second);
  if (a.files.empty()) {
    core::fail(core::ErrorKind::kMissingInput,
               {.what = "no *.safetensors file", .where = first.string()});
  }
  WeightsComparison result{.sha256 = a.sha256};
  const auto note = [&](RunDifference difference) {
    ++result.num_different;
    if (!result.difference) result.difference = std::move(difference);
  };
  for (const SafetensorsFile& file : a.files) {
    for (const TensorEntry& entry : file.tensors()) {
      ++result.num_tensors;
      double largest = 0;
      auto difference = compare_tensor(file, entry, b, largest);
      if (!difference) continue;
      if (!(largest <= result.largest_difference)) {
        result.largest_difference = largest;
        result.largest_tensor = entry.name;
      }
      note(std::move(*difference));
    }
  }
  for (const SafetensorsFile& file : b.files) {
    for (const TensorEntry& entry : file.tensors()) {
      const SafetensorsFile* owner = nullptr;
      if (a.find(entry.name, owner) == nullptr)
        note({file.path().filename().string() + ", tensor \"" + entry.name + "\"", kAbsent,
              "present"});
    }
  }
  return result;
}

}  // namespace hone::recipes
