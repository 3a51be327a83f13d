#include "formats/gguf_weights.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "formats/dtype.h"
#include "formats/gguf_names.h"

namespace hone::formats {
namespace {

// Gathers the weights and everything that is wrong with them.
class Matcher {
 public:
  Matcher(const GgufFile& file) : file_(file) {}

  void add(const GgufName& name) {
    const GgufTensor* source = file_.find_tensor(name.gguf);
    if (source == nullptr) {
      problems_.push_back("tensor \"" + name.gguf + "\" is missing");
      return;
    }
    used_.insert(name.gguf);
    if (source->shape != name.shape) {
      problems_.push_back("tensor \"" + name.gguf + "\" has the shape " +
                          format_shape(source->shape) + ", expected " + format_shape(name.shape));
    }
    weights_.push_back({source, name.name, name.rotary_heads});
  }

  std::vector<GgufWeight> finish() {
    for (const GgufTensor& t : file_.tensors()) {
      if (!used_.contains(t.name) && t.name != "rope_freqs.weight") {
        problems_.push_back("tensor \"" + t.name + "\" is no part of this architecture");
      }
    }
    if (problems_.empty()) return std::move(weights_);
    constexpr size_t kShown = 10;
    std::string text;
    for (size_t i = 0; i < std::min(problems_.size(), kShown); ++i) {
      text += (i > 0 ? "; " : "") + problems_[i];
    }
    if (problems_.size() > kShown)
      text += "; and " + std::to_string(problems_.size() - kShown) + " more";
    core::fail(core::ErrorKind::kBadInput, {.what = text, .where = file_.path()});
  }

 private:
  const GgufFile& file_;
  std::vector<GgufWeight> weights_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

std::vector<float> restore_rotary_rows(const std::vector<float>& rows, int64_t head_dim,
                                       int64_t columns) {
  std::vector<float> restored(rows.size());
  const int64_t num_rows = static_cast<int64_t>(rows.size()) / columns;
  for (int64_t row = 0; row < num_rows; ++row) {
    std::copy_n(rows.begin() + rotary_row(row, head_dim) * columns, columns,
                restored.begin() + row * columns);
  }
  return restored;
}

}  // namespace

std::vector<GgufWeight> match_gguf_weights(const GgufFile& file, const GgufModel& m) {
  Matcher matcher(file);
  for (const GgufName& name : gguf_tensor_names(m)) matcher.add(name);
  return matcher.finish();
}

void read_gguf_weight(const GgufFile& file, const GgufWeight& weight,
                      const std::function<void(uint64_t, const std::vector<float>&)>& use) {
  constexpr int64_t kPieceElements = 1 << 22;
  const GgufTensor& t = *weight.source;
  const GgmlTypeInfo& info = ggml_type_info(t.type);
  const int64_t numel = static_cast<int64_t>(*shape_numel(t.shape));
  const bool is_matrix = t.shape.size() == 2;
  const int64_t columns = is_matrix ? t.shape[1] : 1;
  const int64_t rows = columns > 0 ? numel / columns : 0;
  const int64_t head_dim = weight.rotary_heads > 0 ? rows / weight.rotary_heads : 1;
  // A vector is one piece; a matrix is cut between rows, and between heads where rows move.
  const int64_t fitting =
      std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, columns * head_dim));
  const int64_t piece_rows = is_matrix ? fitting * head_dim : std::max<int64_t>(1, rows);
  for (int64_t row = 0; row < rows; row += piece_rows) {
    const uint64_t first = static_cast<uint64_t>(row * columns);
    const uint64_t count = static_cast<uint64_t>(std::min(piece_rows, rows - row) * columns);
    std::vector<float> values(count);
    dequantize(t.type,
               file.bytes(t).subspan(first / info.block_elements * info.block_bytes,
                                     count / info.block_elements * info.block_bytes),
               values);
    if (weight.rotary_heads > 0) values = restore_rotary_rows(values, head_dim, columns);
    use(first, values);
  }
}

}  // namespace hone::formats
