#include "models/load.h"

#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>

#include "core/error.h"
#include "core/rng.h"
#include "models/build_model.h"
#include "models/file_tensors.h"
#include "models/spec/families.h"
#include "models/spec/parameter_plan.h"
#include "models/stage_buffers.h"
#include "models/weight_check.h"

namespace hone::models {
namespace {

struct Sources {
  FileTensors base, adapter;
};

void check_tied_head(const ModelSpec& spec, const FileTensors& files, const std::string& where) {
  const auto head = files.find("lm_head.weight");
  const auto embedding = files.find("model.embed_tokens.weight");
  if (!spec.tie_word_embeddings || head == files.end() || embedding == files.end()) return;
  const auto head_bytes = head->second.bytes, embedding_bytes = embedding->second.bytes;
  if (head_bytes.size() == embedding_bytes.size() &&
      std::memcmp(head_bytes.data(), embedding_bytes.data(), head_bytes.size()) == 0) {
    return;
  }
  core::fail(core::ErrorKind::kBadInput,
             {.what = "lm_head.weight differs from model.embed_tokens.weight, but config.json ties "
                      "them",
              .where = where,
              .hint = "set tie_word_embeddings to false in config.json to use both"});
}

void check_base(const ModelSpec& spec, const FileTensors& files, const std::string& where) {
  const Family* family = find_family(spec.architecture);
  std::vector<WantedTensor> wanted;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    wanted.push_back({family->file_name(parameter.name), parameter.shape});
  }
  check_weights(files, wanted, is_ignored_base_tensor, where);
  check_tied_head(spec, files, where);
}

void check_adapter(std::span<const PlannedParameter> plan, const FileTensors& files,
                   const std::string& where) {
  std::vector<WantedTensor> wanted;
  for (const PlannedParameter& planned : plan) {
    if (planned.source != ParameterSource::kAdapterFile) continue;
    wanted.push_back({planned.source_name, planned.shape});
  }
  check_weights(files, wanted, is_ignored_adapter_tensor, where);
}

// Elements [begin, begin + target.numel()) of a fresh tensor, whole.
void fill_random(const PlannedParameter& planned, uint64_t seed, int64_t begin,
                 at::Tensor& target) {
  const at::Tensor values = at::empty({target.numel()}, at::kFloat);
  float* data = values.mutable_data_ptr<float>();
  const bool uniform = planned.source == ParameterSource::kLoraA;
  // Kaiming uniform with a = sqrt(5) over fan_in columns: a bound of sqrt(6 / ((1 + a^2) fan_in)).
  const double bound = 1.0 / std::sqrt(static_cast<double>(planned.shape.back()));
  const auto draw = [&](int64_t index) {
    return core::random_uniform(seed, core::RngSite::kLoraInit, planned.init_stream, 0,
                                static_cast<uint64_t>(index));
  };
  for (int64_t i = 0; i < values.numel(); ++i) {
    const int64_t element = begin + i;
    if (uniform) {
      data[i] = static_cast<float>((2.0 * draw(element) - 1.0) * bound);
    } else {  // Box-Muller; 1 - u keeps the logarithm finite
      const double radius = std::sqrt(-2.0 * std::log(1.0 - draw(2 * element)));
      data[i] =
          static_cast<float>(radius * std::cos(2.0 * std::numbers::pi * draw(2 * element + 1)));
    }
  }
  target.copy_(values);
}

// Reads or makes the part that this rank keeps of every stage, and notes what dtype each parameter
// has in its file.
class StageFiller {
 public:
  StageFiller(std::span<const PlannedParameter> plan, const Sources& sources, const Family& family,
              uint64_t seed, const MappedWeights& mapped)
      : plan_(plan), sources_(sources), family_(family), seed_(seed), mapped_(mapped) {}

  void fill(int64_t index, Stage& stage) const {
    auto parameter = stage.parameters.begin();
    for (const bool trainable : {true, false}) fill_half(index, trainable, stage, parameter);
  }

 private:
  // The trainable ones come first in Stage::parameters, then the frozen.
  void fill_half(int64_t index, bool trainable, Stage& stage,
                 std::vector<Parameter>::iterator& parameter) const {
    const at::Tensor& flat = trainable ? stage.kept.trainable : stage.kept.frozen;
    const parallel::ElementRange& kept = trainable ? stage.kept.range : stage.kept.frozen_range;
    int64_t offset = 0;
    for (const PlannedParameter& planned : plan_) {
      if (planned.stage != index || planned.trainable != trainable) continue;
      const FileTensor* file = file_of(planned);
      (parameter++)->file_dtype =
          file == nullptr ? "F32" : std::string(formats::dtype_name(file->dtype));
      if (mapped_.contains(planned.key)) continue;
      const auto part = parallel::intersect({offset, offset + planned.num_held()}, kept);
      if (part.size() > 0) {
        fill_elements(planned, file, {part.begin - offset, part.end - offset},
                      flat.narrow(0, part.begin - kept.begin, part.size()));
      }
      offset += planned.num_held();
    }
  }

  const FileTensor* file_of(const PlannedParameter& planned) const {
    if (planned.source == ParameterSource::kBaseFile)
      return &sources_.base.at(family_.file_name(planned.source_name));
    if (planned.source == ParameterSource::kAdapterFile)
      return &sources_.adapter.at(planned.source_name);
    return nullptr;
  }

  // `target` gets elements `part` of the parameter's slice.
  void fill_elements(const PlannedParameter& planned, const FileTensor* file,
                     const parallel::ElementRange& part, at::Tensor target) const {
    if (planned.source == ParameterSource::kZero) {
      target.zero_();
      return;
    }
    const auto runs = parallel::slice_runs(planned.shape, planned.slice, part);
    if (file != nullptr) return read_runs(*file, runs, part.begin, target);
    for (const parallel::SliceRun& run : runs) {
      at::Tensor piece = target.narrow(0, run.slice_begin - part.begin, run.count);
      fill_random(planned, seed_, run.whole_begin, piece);
    }
  }

  std::span<const PlannedParameter> plan_;
  const Sources& sources_;
  const Family& family_;
  const uint64_t seed_;
  const MappedWeights& mapped_;
};

AdapterOptions resolve_adapter(const LoadOptions& options) {
  if (options.adapter_path.empty()) return options.adapter;
  AdapterOptions adapter = read_adapter_config(options.adapter_path);
  const AdapterOptions& asked = options.adapter;
  if (!asked.base_model_name_or_path.empty()) {
    adapter.base_model_name_or_path = asked.base_model_name_or_path;
    adapter.base_model_revision = asked.base_model_revision;
  }
  return adapter;
}

}  // namespace

Model load_model(const std::filesystem::path& folder, const LoadOptions& options) {
  const at::NoGradGuard no_grad;
  ModelSpec spec = read_model_spec(folder);
  AdapterOptions adapter = resolve_adapter(options);
  const bool continued = !options.adapter_path.empty();
  std::vector<PlannedParameter> plan =
      plan_parameters(spec, adapter, options.train_base, continued);
  slice_plan(plan, spec, options.sharding);

  const auto base =
      std::make_shared<const formats::WeightFiles>(formats::open_weight_files(folder));
  std::optional<formats::SafetensorsFile> adapter_file;
  Sources sources{.base = list_tensors(*base), .adapter = {}};
  check_base(spec, sources.base, folder.string());
  if (continued) {
    adapter_file = open_adapter_file(options.adapter_path);
    sources.adapter = list_tensors(*adapter_file);
    check_adapter(plan, sources.adapter, adapter_file->path().string());
  }
  MappedWeights mapped;
  if (options.device.is_cpu()) {
    mapped = map_frozen_weights(plan, sources.base, *find_family(spec.architecture),
                                options.compute_dtype, base);
  }
  StageBuffers buffers = allocate_stages(plan, spec.num_layers() + 2, options.compute_dtype,
                                         options.device, mapped, options.sharding);
  const StageFiller filler(plan, sources, *find_family(spec.architecture), options.seed, mapped);
  for (size_t index = 0; index < buffers.stages.size(); ++index)
    filler.fill(static_cast<int64_t>(index), buffers.stages[index]);
  return build_model(std::move(spec), std::move(adapter), options.compute_dtype, options.device,
                     options.sharding, options.groups, std::move(buffers));
}

}  // namespace hone::models
