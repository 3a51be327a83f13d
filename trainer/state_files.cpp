#include "trainer/state_files.h"

#include <functional>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "formats/safetensors.h"
#include "formats/weight_files.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;

constexpr int kStateVersion = 1;

// One trainable parameter's part of a buffer kept beside the weights.
struct StateTensor {
  std::string name;
  at::Tensor value;  // a float32 view
};

using FlatOfStage = std::function<at::Tensor(size_t stage)>;

std::vector<StateTensor> state_tensors(const models::Model& model,
                                       const FlatOfStage& flat_of_stage) {
  std::vector<StateTensor> tensors;
  for (size_t i = 0; i < model.stages.size(); ++i) {
    for (const models::Parameter& parameter : model.stages[i].parameters) {
      if (!parameter.grad.defined()) continue;
      tensors.push_back(
          {parameter.name, view_of_parameter(model.stages[i], parameter, flat_of_stage(i))});
    }
  }
  return tensors;
}

std::vector<StateTensor> moments(const models::Model& model, const std::vector<at::Tensor>& flats) {
  return state_tensors(model, [&](size_t stage) { return flats[stage]; });
}

std::vector<StateTensor> weights(const models::Model& model) {
  return state_tensors(model, [&](size_t stage) { return model.stages[stage].trainable; });
}

void write_tensors(const fs::path& path, const std::vector<StateTensor>& tensors) {
  std::vector<formats::TensorSpec> specs;
  for (const StateTensor& tensor : tensors) {
    specs.push_back({tensor.name, formats::Dtype::kF32, tensor.value.sizes().vec()});
  }
  formats::SafetensorsWriter writer(path, formats::plan_safetensors(specs));
  for (const StateTensor& tensor : tensors) {
    const at::Tensor value = tensor.value.to(at::kCPU).contiguous();
    writer.write(tensor.name,
                 {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  }
  writer.commit();
}

// The bytes of a float32 tensor of this name and shape, or what is wrong with it.
struct Found {
  std::span<const std::byte> bytes;
  formats::Dtype dtype = formats::Dtype::kF32;
  std::vector<int64_t> shape;
};
using Lookup = std::function<std::optional<Found>(const std::string& name)>;

Lookup look_in(const formats::SafetensorsFile& file) {
  return [&file](const std::string& name) -> std::optional<Found> {
    const auto* entry = file.find(name);
    if (entry == nullptr) return std::nullopt;
    return Found{file.bytes(*entry), entry->dtype, entry->shape};
  };
}

void read_tensor(const StateTensor& tensor, const Lookup& lookup, const fs::path& where) {
  const auto found = lookup(tensor.name);
  const std::string expected = "F32 " + formats::format_shape(tensor.value.sizes().vec());
  if (!found) {
    fail(ErrorKind::kBadInput,
         {.what = "no tensor '" + tensor.name + "'", .where = where, .expected = expected});
  }
  if (found->dtype != formats::Dtype::kF32 || found->shape != tensor.value.sizes().vec()) {
    fail(ErrorKind::kBadInput, {.what = "tensor '" + tensor.name + "' does not fit the model",
                                .where = where,
                                .got = std::string(formats::dtype_name(found->dtype)) + " " +
                                       formats::format_shape(found->shape),
                                .expected = expected});
  }
  // A copy through a tensor of its own: the bytes of a file may not be aligned.
  at::Tensor value = at::empty(tensor.value.sizes(), at::kFloat);
  std::copy(found->bytes.begin(), found->bytes.end(),
            static_cast<std::byte*>(value.mutable_data_ptr()));
  at::Tensor target = tensor.value;
  target.copy_(value);
}

void read_moments(const fs::path& path, const std::vector<StateTensor>& tensors) {
  const auto file = formats::SafetensorsFile::open(path);
  for (const StateTensor& tensor : tensors) read_tensor(tensor, look_in(file), path);
  if (file.tensors().size() != tensors.size()) {
    fail(ErrorKind::kBadInput, {.what = "not the moments of this model",
                                .where = path,
                                .got = std::to_string(file.tensors().size()) + " tensors",
                                .expected = std::to_string(tensors.size())});
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
    return Found{full->bytes(*entry), entry->dtype, entry->shape};
  };
  for (const StateTensor& tensor : weights(model)) {
    const bool has_master = master && master->find(tensor.name) != nullptr;
    read_tensor(tensor, has_master ? look_in(*master) : in_model_files,
                has_master ? master_path : checkpoint);
  }
}

Json state_to_json(const TrainerState& state, const OptimizerState& optimizer) {
  Json json;
  json["version"] = kStateVersion;
  json["step"] = state.step;
  json["num_updates"] = optimizer.num_updates;
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

void write_state(const fs::path& checkpoint, const models::Model& model,
                 const OptimizerState& optimizer, const TrainerState& state,
                 const std::set<std::string>& saved_exactly) {
  const fs::path folder = checkpoint / kStateFolder;
  core::make_folders(folder);
  write_tensors(folder / "exp_avg.safetensors", moments(model, optimizer.exp_avg));
  write_tensors(folder / "exp_avg_sq.safetensors", moments(model, optimizer.exp_avg_sq));
  std::vector<StateTensor> masters = weights(model);
  std::erase_if(masters,
                [&](const StateTensor& tensor) { return saved_exactly.contains(tensor.name); });
  if (!masters.empty()) write_tensors(folder / "master.safetensors", masters);
  core::write_file_atomic(folder / "trainer_state.json",
                          core::dump_json(state_to_json(state, optimizer)));
}

TrainerState read_state(const fs::path& checkpoint, models::Model& model,
                        OptimizerState& optimizer) {
  const fs::path folder = checkpoint / kStateFolder;
  read_weights(checkpoint, model);
  read_moments(folder / "exp_avg.safetensors", moments(model, optimizer.exp_avg));
  read_moments(folder / "exp_avg_sq.safetensors", moments(model, optimizer.exp_avg_sq));
  if (model.refresh_compute_weights) model.refresh_compute_weights();
  const fs::path path = folder / "trainer_state.json";
  return state_from_json(core::read_json_file(path), optimizer, path);
}

}  // namespace hone::trainer
