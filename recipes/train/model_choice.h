// MODEL on the command line: a folder or id of a whole model, or of an adapter, whose base is then
// found.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "data/tokenizer.h"
#include "models/load.h"

namespace hone::recipes {

struct ModelArguments {
  std::string model;           // folder, ID or ID@REVISION
  std::string adapter;         // the same for an adapter on top; "" = none
  std::string base;            // overrides what the adapter says its base is
  std::string dtype = "auto";  // "auto": float32 on a CPU, bfloat16 on a GPU
  std::string device = "auto";
};

// --adapter, --base, --dtype and --device: what every verb that runs a model offers.
void add_model_options(CLI::App& verb, ModelArguments& arguments);

struct ModelFolders {
  std::filesystem::path base;
  std::optional<std::filesystem::path> adapter;
  std::filesystem::path tokenizer;  // the adapter's when it brings one
};

// Throws kMissingInput naming the places searched.
ModelFolders find_model(const ModelArguments& arguments);

// What this rank has of a model that several compute together; all of it where nothing is given.
struct RankShare {
  models::Sharding sharding = {};
  models::ComputeGroups groups = {};
};

models::Model load_for_inference(const ModelFolders& folders, const ModelArguments& arguments,
                                 const RankShare& share = {});

}  // namespace hone::recipes
