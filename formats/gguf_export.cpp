#include "formats/gguf_export.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "formats/gguf_export_tokenizer.h"
#include "formats/gguf_quantize.h"
#include "formats/gguf_writer.h"
#include "formats/weight_files.h"

namespace hone::formats {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;

constexpr const char* kRopeTensor = "rope_freqs.weight";

// "135M", "1.2B"
std::string size_label(uint64_t num_parameters) {
  const double millions = static_cast<double>(num_parameters) / 1e6;
  char text[32];
  if (millions < 1000) {
    std::snprintf(text, sizeof text, "%.3gM", millions);
  } else {
    std::snprintf(text, sizeof text, "%.2gB", millions / 1000);
  }
  return text;
}

void add_general(const GgufHyperparameters& h, const GgufFileType& type, uint64_t num_parameters,
                 const GgufExportOptions& options, GgufKeys& keys) {
  keys.add_text("general.architecture", h.model.arch);
  keys.add_text("general.type", "model");
  if (!options.name.empty()) keys.add_text("general.name", options.name);
  if (!options.license.empty()) keys.add_text("general.license", options.license);
  keys.add_text("general.size_label", size_label(num_parameters));
  keys.add_number("general.file_type", type.number);
  keys.add_number("general.quantization_version", 2);
}

void add_rope(const GgufHyperparameters& h, GgufKeys& keys) {
  const std::string prefix = h.model.arch + ".rope.";
  keys.add_number(prefix + "dimension_count", static_cast<uint64_t>(h.model.head_dim));
  keys.add_real(prefix + "freq_base", h.rope_theta);
  if (h.rope_linear_factor != 1) {
    keys.add_text(prefix + "scaling.type", "linear");
    keys.add_real(prefix + "scaling.factor", h.rope_linear_factor);
  }
  if (!h.rope_llama3) return;
  const GgufRope& rope = *h.rope_llama3;
  keys.add_number(prefix + "scaling.original_context_length",
                  static_cast<uint64_t>(rope.original_context_length));
  keys.add_real(kGgufRopeFactor, rope.factor);
  keys.add_real(kGgufRopeLowFactor, rope.low_freq_factor);
  keys.add_real(kGgufRopeHighFactor, rope.high_freq_factor);
}

void add_model(const GgufHyperparameters& h, GgufKeys& keys) {
  const GgufModel& m = h.model;
  const auto number = [&](const char* key, int64_t value) {
    keys.add_number(m.arch + "." + key, static_cast<uint64_t>(value));
  };
  number("vocab_size", m.vocab_size);
  number("context_length", h.context_length);
  number("embedding_length", m.hidden_size);
  number("block_count", m.num_layers);
  number("feed_forward_length", m.intermediate_size);
  number("attention.head_count", m.num_heads);
  number("attention.head_count_kv", m.num_kv_heads);
  number("attention.key_length", m.head_dim);
  number("attention.value_length", m.head_dim);
  if (h.sliding_window > 0) number("attention.sliding_window", h.sliding_window);
  keys.add_real(m.arch + ".attention.layer_norm_rms_epsilon", h.rms_norm_eps);
  add_rope(h, keys);
}

// A tensor of the file and where it comes from.
struct Source {
  GgufName name;
  GgmlType type = GgmlType::kF32;
  const WeightTensor* tensor = nullptr;
};

std::vector<Source> find_sources(const WeightFiles& weights, const fs::path& folder,
                                 const GgufModel& model, const GgufFileType& file_type) {
  std::vector<Source> sources;
  for (GgufName& name : gguf_tensor_names(model)) {
    const WeightTensor* tensor = weights.find(name.name);
    if (tensor == nullptr || tensor->shape != name.shape) {
      fail(ErrorKind::kBadInput,
           {.what = tensor == nullptr ? "a tensor is missing" : "a tensor has the wrong shape",
            .where = folder.string() + ": " + name.name,
            .got = tensor == nullptr ? "" : format_shape(tensor->shape),
            .expected = format_shape(name.shape)});
    }
    if (tensor->dtype != Dtype::kF32 && tensor->dtype != Dtype::kF16 &&
        tensor->dtype != Dtype::kBF16) {
      fail(ErrorKind::kBadInput, {.what = "the tensor's dtype is not supported",
                                  .where = folder.string() + ": " + name.name,
                                  .got = std::string(dtype_name(tensor->dtype)),
                                  .expected = "F32, F16 or BF16"});
    }
    const GgmlType type = gguf_tensor_type(file_type, name, model);
    sources.push_back({std::move(name), type, tensor});
  }
  return sources;
}

// Elements [first, first + values.size()) of a tensor, in float32.
void read_values(const WeightFiles& weights, const WeightTensor& tensor, uint64_t first,
                 std::span<float> values) {
  const size_t size = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
  const auto bytes = weights.bytes(tensor).subspan(first * size, values.size() * size);
  if (tensor.dtype == Dtype::kF32) {
    std::copy_n(bytes.data(), bytes.size(), reinterpret_cast<std::byte*>(values.data()));
    return;
  }
  std::vector<uint16_t> halves(values.size());
  std::copy_n(bytes.data(), bytes.size(), reinterpret_cast<std::byte*>(halves.data()));
  if (tensor.dtype == Dtype::kBF16) {
    bf16_to_f32(halves, values);
  } else {
    f16_to_f32(halves, values);
  }
}

void check_values(const Source& source, std::span<const float> values) {
  constexpr float kLargestHalf = 65504;
  // The scales of quantised blocks are halves too.
  const bool is_float = source.type == GgmlType::kF32 || source.type == GgmlType::kBF16;
  for (const float value : values) {
    if (std::isfinite(value) && (is_float || std::fabs(value) <= kLargestHalf)) continue;
    fail(ErrorKind::kBadInput,
         {.what =
              std::isfinite(value) ? "a value is too large for the type" : "a value is not finite",
          .where = source.name.name,
          .got = std::to_string(value),
          .expected = std::string("what ") + ggml_type_info(source.type).name + " holds",
          .hint = std::isfinite(value) ? "use BF16" : ""});
  }
}

std::vector<float> move_rotary_rows(const std::vector<float>& rows, int64_t head_dim,
                                    int64_t columns) {
  std::vector<float> moved(rows.size());
  const int64_t num_rows = static_cast<int64_t>(rows.size()) / columns;
  for (int64_t row = 0; row < num_rows; ++row) {
    std::copy_n(rows.begin() + row * columns, columns,
                moved.begin() + rotary_row(row, head_dim) * columns);
  }
  return moved;
}

// Piece by piece; a piece is whole rows, and whole heads where rows move.
void write_tensor(const WeightFiles& weights, const Source& source, GgufWriter& writer) {
  constexpr int64_t kPieceElements = 1 << 22;
  const GgmlTypeInfo& info = ggml_type_info(source.type);
  const std::vector<int64_t>& shape = source.name.shape;
  const int64_t columns = shape.size() == 2 ? shape[1] : 1;
  const int64_t rows = shape[0];
  const int64_t unit = source.name.rotary_heads > 0 ? rows / source.name.rotary_heads : 1;
  const int64_t piece = std::max<int64_t>(1, kPieceElements / (columns * unit)) * unit;
  uint64_t offset = 0;
  for (int64_t row = 0; row < rows; row += piece) {
    std::vector<float> values(static_cast<size_t>(std::min(piece, rows - row) * columns));
    read_values(weights, *source.tensor, static_cast<uint64_t>(row * columns), values);
    check_values(source, values);
    if (source.name.rotary_heads > 0) values = move_rotary_rows(values, unit, columns);
    std::vector<std::byte> bytes(values.size() / info.block_elements * info.block_bytes);
    quantize(source.type, values, bytes);
    writer.write(source.name.gguf, offset, bytes);
    offset += bytes.size();
  }
}

}  // namespace

GgufExportResult export_gguf(const fs::path& folder, const GgufHyperparameters& h,
                             const fs::path& gguf_path, const GgufExportOptions& options) {
  const GgufFileType* type = find_gguf_file_type(options.type);
  if (type == nullptr) {
    fail(ErrorKind::kUsage, {.what = "unknown GGUF type",
                             .got = "\"" + options.type + "\"",
                             .expected = known_gguf_file_types()});
  }
  GgufExportResult result;
  const WeightFiles weights = open_weight_files(folder);
  const std::vector<Source> sources = find_sources(weights, folder, h.model, *type);
  std::vector<GgufTensorSpec> specs;
  std::vector<float> divisors;
  if (h.rope_llama3) {
    divisors = llama3_divisors(*h.rope_llama3, h.model.head_dim);
    specs.push_back({kRopeTensor, GgmlType::kF32, {h.model.head_dim / 2}});
  }
  for (const Source& source : sources) {
    specs.push_back({source.name.gguf, source.type, source.name.shape});
    result.num_parameters += *shape_numel(source.name.shape);
    ++result.tensors_by_type[ggml_type_info(source.type).name];
  }
  if (h.sliding_window > 0) {
    result.notes.push_back(
        "llama.cpp pays no attention to the sliding window of this "
        "architecture: texts of more than " +
        std::to_string(h.sliding_window) + " tokens come out differently");
  }
  GgufKeys keys;
  add_general(h, *type, result.num_parameters, options, keys);
  add_model(h, keys);
  add_gguf_tokenizer(folder, h.model.vocab_size, keys, result.notes);
  GgufWriter writer(gguf_path, keys, specs);
  if (!divisors.empty()) writer.write(kRopeTensor, 0, std::as_bytes(std::span(divisors)));
  for (const Source& source : sources) write_tensor(weights, source, writer);
  writer.commit();
  result.file_bytes = writer.file_bytes();
  return result;
}

}  // namespace hone::formats
