#include "trainer/state_files.h"

#include <functional>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "formats/safetensors.h"
#include "formats/weight_files.h"
#include "models/file_tensors.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;

constexpr int kStateVersion = 1;

using FlatOfStage = std::function<at::Tensor(size_t stage)>;

// What this rank keeps of every trainable parameter, in buffers laid out as KeptPart::trainable.
struct KeptParameter {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<parallel::SliceRun> runs;  // of the file's tensor, to be read into `kept`
  int64_t begin = 0;                     // element of the slice where `kept` begins
  at::Tensor kept;                       // a float32 view; undefined where nothing is kept
};

std::vector<KeptParameter> kept_parameters(const models::Model& model,
                                           const FlatOfStage& flat_of_stage) {
  std::vector<KeptParameter> result;
  for (size_t i = 0; i < model.stages.size(); ++i) {
    for (const models::Parameter& parameter : model.stages[i].parameters) {
      if (!parameter.grad.defined()) continue;
      const ParameterPart part = kept_part_of(model.stages[i], parameter);
      result.push_back({.name = parameter.name,
                        .shape = parameter.shape,
                        .runs = parallel::slice_runs(parameter.shape, parameter.slice,
                                                     {part.begin, part.begin + part.size}),
                        .begin = part.begin,
                        // A stage of another rank of the pipeline has no moments here.
                        .kept = part.size == 0
                                    ? at::Tensor()
                                    : flat_of_stage(i).narrow(0, part.offset, part.size)});
    }
  }
  return result;
}

TensorFile plan_state_file(const char* name, const models::Model& model,
                           const FlatOfStage& flat_of_stage,
                           const std::set<std::string>& left_out = {}) {
  std::vector<models::NamedTensor> tensors;
  for (size_t i = 0; i < model.stages.size(); ++i) {
    for (const models::Parameter& parameter : model.stages[i].parameters) {
      if (!parameter.grad.defined() || left_out.contains(parameter.name)) continue;
      tensors.push_back(models::named_state(model.stages[i], parameter, flat_of_stage(i)));
    }
  }
  return plan_tensor_file(fs::path(kStateFolder) / name, std::move(tensors));
}

FlatOfStage moments(const std::vector<at::Tensor>& flats) {
  return [&flats](size_t stage) { return flats[stage]; };
}

FlatOfStage masters(const models::Model& model) {
  return [&model](size_t stage) { return model.stages[stage].kept.trainable; };
}

// A tensor of a file, of whatever name, dtype and shape.
struct Found {
  const formats::SafetensorsFile* file = nullptr;
  const formats::TensorEntry* entry = nullptr;
};
using Lookup = std::function<std::optional<Found>(const std::string& name)>;

Lookup look_in(const formats::SafetensorsFile& file) {
  return [&file](const std::string& name) -> std::optional<Found> {
    const auto* entry = file.find(name);
    if (entry == nullptr) return std::nullopt;
    return Found{&file, entry};
  };
}

// Reads what is kept and no other byte.
void read_kept(const KeptParameter& parameter, const Lookup& lookup, const fs::path& where) {
  const auto found = lookup(parameter.name);
  const std::string expected = "F32 " + formats::format_shape(parameter.shape);
  if (!found) {
    fail(ErrorKind::kBadInput,
         {.what = "no tensor '" + parameter.name + "'", .where = where, .expected = expected});
  }
  const formats::TensorEntry& entry = *found->entry;
  if (entry.dtype != formats::Dtype::kF32 || entry.shape != parameter.shape) {
    fail(ErrorKind::kBadInput, {.what = "tensor '" + parameter.name + "' does not fit the model",
                                .where = where,
                                .got = std::string(formats::dtype_name(entry.dtype)) + " " +
                                       formats::format_shape(entry.shape),
                                .expected = expected});
  }
  at::Tensor target = parameter.kept;
  if (!target.defined()) return;
  const models::FileTensor tensor{.dtype = entry.dtype,
                                  .shape = entry.shape,
                                  .bytes = found->file->bytes(entry),
                                  .file = found->file,
                                  .entry = found->entry};
  models::read_runs(tensor, parameter.runs, parameter.begin, target);
}

void read_moments(const fs::path& path, const std::vector<KeptParameter>& parameters) {
  const auto file = formats::SafetensorsFile::open(path);
  for (const KeptParameter& parameter : parameters) read_kept(parameter, look_in(file), path);
  if (file.tensors().size() != parameters.size()) {
    fail(ErrorKind::kBadInput, {.what = "not the moments of this model",
                                .where = path,
                                .got = std::to_string(file.tensors().size()) + " tensors",
                                .expected = std::to_string(parameters.size())});
  }
}

// Masters come from state/master.safetensors where it has them, other weights from the model files.
void read_weights(const fs::path& checkpoint, const models::Model& model) {
  const fs::path master_path = checkpoint / kStateFolder / "master.safetensors";
  std::optional<formats::SafetensorsFile> master;
  if (fs::exists(master_path)) master = formats::SafetensorsFile::open(master_path);
  std::optional<formats::SafetensorsFile> adapter;
  std::optional<formats::WeightFiles> full;
  if (model.adapter.enabled()) {
    adapter = formats::SafetensorsFile::open(checkpoint / "adapter_model.safetensors");
  } else {
    full = formats::open_weight_files(checkpoint);
  }
  const Lookup in_model_files = [&](const std::string& name) -> std::optional<Found> {
    if (adapter) return look_in(*adapter)(name);
    const auto* entry = full->find(name);
    if (entry == nullptr) return std::nullopt;
    const formats::SafetensorsFile& file = full->files()[entry->file];
    return Found{&file, &file.tensors()[entry->entry]};
  };
  for (const KeptParameter& parameter : kept_parameters(model, masters(model))) {
    const bool has_master = master && master->find(parameter.name) != nullptr;
    read_kept(parameter, has_master ? look_in(*master) : in_model_files,
              has_master ? master_path : checkpoint);
  }
}

Json state_to_json(const TrainerState& state, int64_t num_updates) {
  Json json;
  json["version"] = kStateVersion;
  json["step"] = state.step;
  json["num_updates"] = num_updates;
  json["tokens"] = state.num_tokens;
  json["data"] = Json{{"next_step", state.step}};
  json["loss_sum"] = state.loss_sum;
  json["loss_tokens"] = state.loss_tokens;
  if (!state.by_source.empty()) {
    json["loss_by_dataset"] = Json::array();
    for (const SourceLoss& source : state.by_source) {
      json["loss_by_dataset"].push_back({source.loss_sum, source.num_trained_tokens});
    }
  }
  json["scheduler_steps"] = state.horizon;
  json["first_eval_loss"] = state.first_eval_loss ? Json(*state.first_eval_loss) : Json(nullptr);
  const SelectionState& selection = state.selection;
  if (selection.best_metric) {
    json["best_metric"] = *selection.best_metric;
    json["best_eval_loss"] = selection.best_eval_loss;
    json["best_step"] = selection.best_step;
    json["last_evaluated_step"] = selection.last_step;
    json["num_bad_evaluations"] = selection.num_bad_evaluations;
  }
  return json;
}

SelectionState selection_from_json(const Json& json) {
  if (!json.contains("best_metric")) return {};
  return {.best_metric = json.at("best_metric").get<double>(),
          .best_eval_loss = json.at("best_eval_loss").get<double>(),
          .best_step = json.at("best_step").get<int64_t>(),
          .last_step = json.at("last_evaluated_step").get<int64_t>(),
          .num_bad_evaluations = json.at("num_bad_evaluations").get<int64_t>()};
}

TrainerState state_from_json(const Json& json, OptimizerState& optimizer, const fs::path& where) {
  try {
    TrainerState state;
    state.step = json.at("step").get<int64_t>();
    optimizer.num_updates = json.at("num_updates").get<int64_t>();
    state.num_tokens = json.at("tokens").get<int64_t>();
    state.loss_sum = json.at("loss_sum").get<double>();
    state.loss_tokens = json.at("loss_tokens").get<int64_t>();
    for (const Json& source : json.value("loss_by_dataset", Json::array())) {
      state.by_source.push_back({source.at(0).get<double>(), source.at(1).get<int64_t>()});
    }
    state.horizon = json.at("scheduler_steps").get<int64_t>();
    if (!json.at("first_eval_loss").is_null())
      state.first_eval_loss = json.at("first_eval_loss").get<double>();
    state.selection = selection_from_json(json);
    return state;
  } catch (const Json::exception& error) {
    fail(ErrorKind::kBadInput,
         {.what = std::string("not a trainer state: ") + error.what(), .where = where});
  }
}

}  // namespace

std::vector<TensorFile> plan_state_files(const models::Model& model,
                                         const OptimizerState& optimizer,
                                         const std::set<std::string>& saved_exactly) {
  std::vector<TensorFile> files;
  files.push_back(plan_state_file("exp_avg.safetensors", model, moments(optimizer.exp_avg)));
  files.push_back(plan_state_file("exp_avg_sq.safetensors", model, moments(optimizer.exp_avg_sq)));
  TensorFile master = plan_state_file("master.safetensors", model, masters(model), saved_exactly);
  if (!master.tensors.empty()) files.push_back(std::move(master));
  return files;
}

void write_trainer_state(const fs::path& checkpoint, const TrainerState& state,
                         int64_t num_updates) {
  core::make_folders(checkpoint / kStateFolder);
  core::write_file_atomic(checkpoint / kStateFolder / "trainer_state.json",
                          core::dump_json(state_to_json(state, num_updates)));
}

TrainerState read_state(const fs::path& checkpoint, models::Model& model,
                        OptimizerState& optimizer) {
  const fs::path folder = checkpoint / kStateFolder;
  read_weights(checkpoint, model);
  read_moments(folder / "exp_avg.safetensors", kept_parameters(model, moments(optimizer.exp_avg)));
  read_moments(folder / "exp_avg_sq.safetensors",
               kept_parameters(model, moments(optimizer.exp_avg_sq)));
  models::refresh_compute_weights(model);
  const fs::path path = folder / "trainer_state.json";
  return state_from_json(core::read_json_file(path), optimizer, path);
}

}  // namespace hone::trainer
