#include "models/weight_check.h"

#include <unordered_set>

#include "core/error.h"
#include "core/text.h"

namespace hone::models {
namespace {

constexpr size_t kMaxNamed = 10;

// "3 missing tensors: a, b, c"; empty when there are none.
void describe(const std::string& what, const std::vector<std::string>& names,
              std::vector<std::string>& problems) {
  if (names.empty()) return;
  const size_t shown = std::min(names.size(), kMaxNamed);
  std::string text = std::to_string(names.size()) + " " + what + ": " +
                     core::join({names.begin(), names.begin() + static_cast<long>(shown)}, ", ");
  if (shown < names.size()) text += ", ...";
  problems.push_back(text);
}

}  // namespace

void check_weights(const FileTensors& files, std::span<const WantedTensor> wanted,
                   bool (*is_ignored)(const std::string& name), const std::string& where) {
  std::vector<std::string> missing, extra, shapes, dtypes;
  std::unordered_set<std::string> names;
  for (const WantedTensor& tensor : wanted) {
    if (!names.insert(tensor.name).second) continue;
    const auto it = files.find(tensor.name);
    if (it == files.end()) {
      missing.push_back(tensor.name);
    } else if (it->second.shape != tensor.shape) {
      shapes.push_back(tensor.name + " (got " + formats::format_shape(it->second.shape) +
                       ", expected " + formats::format_shape(tensor.shape) + ")");
    } else if (!is_float_dtype(it->second.dtype)) {
      dtypes.push_back(tensor.name + " (" + std::string(formats::dtype_name(it->second.dtype)) +
                       ")");
    }
  }
  for (const auto& [name, tensor] : files) {
    if (!names.contains(name) && !is_ignored(name)) extra.push_back(name);
  }
  std::vector<std::string> problems;
  describe("missing tensors", missing, problems);
  describe("unexpected tensors", extra, problems);
  describe("tensors of another shape than config.json says", shapes, problems);
  describe("tensors of a dtype other than F32, F16, BF16", dtypes, problems);
  if (problems.empty()) return;
  core::fail(core::ErrorKind::kBadInput, {.what = core::join(problems, "; "), .where = where});
}

bool is_ignored_base_tensor(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name == "lm_head.weight";
}

bool is_ignored_adapter_tensor(const std::string& name) {
  return name.ends_with(".base_layer.weight") || name.ends_with(".base_layer.bias");
}

}  // namespace hone::models
