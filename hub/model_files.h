// Which files of a repository a run needs.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace hone::hub {

// The content of a small file of the repository, fetched when it is not there yet.
using ReadFile = std::function<std::string(const std::string& path)>;
// Of all paths of a repository those that are needed.
using SelectFiles = std::function<std::vector<std::string>(const std::vector<std::string>& paths,
                                                           const ReadFile& read)>;

enum class ModelPart {
  kAll,        // what there is: weights are not required
  kModel,      // weights are required (a model or an adapter)
  kTokenizer,  // configuration and tokenizer only
};

// Configuration, tokenizer and documents of the top folder, and the weights: model.safetensors,
// else what model.safetensors.index.json names, and adapter_model.safetensors; without those names,
// every safetensors file of the top folder. Never pickles: a repository that has weights as pickles
// only throws kBadInput naming them; with kModel one without any weights throws kMissingInput.
SelectFiles select_model_files(ModelPart part);
// Every file.
std::vector<std::string> select_all_files(const std::vector<std::string>& paths,
                                          const ReadFile& read);

// Files that readers of a model ask for and many repositories lack.
const std::vector<std::string>& optional_model_files();

}  // namespace hone::hub
