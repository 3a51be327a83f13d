#include "recipes/tensorboard_log.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "core/environment.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;
using formats::EventContent;
using formats::ScalarValue;

void add_scalars(const std::string& tag, const Json& value, std::vector<ScalarValue>& scalars) {
  if (value.is_number()) scalars.push_back({tag, value.get<double>()});
  if (!value.is_object()) return;
  for (const auto& [name, item] : value.items()) {
    add_scalars(std::string(tag).append("/").append(name), item, scalars);
  }
}

// {"chat": {"loss": 1.5, ...}, ...}: the loss of each beside that of all.
void add_dataset_scalars(const std::string& group, const Json& datasets,
                         std::vector<ScalarValue>& scalars) {
  for (const auto& [dataset, numbers] : datasets.items()) {
    for (const auto& [name, value] : numbers.items())
      add_scalars(std::string(group).append(name).append("/").append(dataset), value, scalars);
  }
}

void add_parameters(const std::string& prefix, const Json& map,
                    std::vector<std::pair<std::string, formats::HyperParameter>>& parameters) {
  for (const auto& [name, value] : map.items()) {
    if (value.is_object()) {
      add_parameters(prefix + name + ".", value, parameters);
    } else if (value.is_boolean()) {
      parameters.emplace_back(prefix + name, value.get<bool>());
    } else if (value.is_number()) {
      parameters.emplace_back(prefix + name, value.get<double>());
    } else if (value.is_string()) {
      parameters.emplace_back(prefix + name, value.get<std::string>());
    } else if (value.is_array()) {
      parameters.emplace_back(prefix + name, value.dump());
    }
  }
}

// Event files of this run end in a name that tells it from other runs in the same folder, and that
// stays when the run folder is moved with its event files.
std::string name_ending(const fs::path& output_dir, const fs::path& logging_dir) {
  const fs::path relative = fs::absolute(output_dir).lexically_relative(fs::absolute(logging_dir));
  return ".hone-" + core::sha256_hex(relative.lexically_normal().string()).substr(0, 8);
}

constexpr std::string_view kNameStart = "events.out.tfevents.";

std::vector<fs::path> event_files(const fs::path& folder, const std::string& ending) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kNameStart) && name.ends_with(ending)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// TensorBoard goes from file to file by name, so the new one has to sort behind the old ones.
std::string new_file_name(const std::vector<fs::path>& old_files, const std::string& ending) {
  auto seconds = static_cast<long long>(core::seconds_since_1970());
  for (const fs::path& old : old_files) {
    const std::string digits = old.filename().string().substr(kNameStart.size(), 10);
    seconds = std::max(seconds, std::strtoll(digits.c_str(), nullptr, 10) + 1);
  }
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  char time[32];
  std::snprintf(time, sizeof time, "%010lld", seconds);
  return std::string(kNameStart) + time + "." + host + "." + std::to_string(::getpid()) + ending;
}

// A TensorBoard that reads the file now goes on to the next one from its end, but never from a file
// that is gone. So it is emptied, and removed when the run goes on once more.
void retire(const fs::path& file) {
  if (fs::is_empty(file)) return core::remove_tree(file);
  fs::resize_file(file, 0);
}

}  // namespace

std::vector<ScalarValue> scalars_of_row(const Json& row) {
  std::vector<ScalarValue> scalars;
  for (const auto& [name, value] : row.items()) {
    if (name == "step") continue;
    const bool is_eval = name.starts_with("eval_");
    const std::string group = is_eval ? "eval/" : "train/", plain = is_eval ? name.substr(5) : name;
    if (plain == "datasets") {
      add_dataset_scalars(group, value, scalars);
    } else {
      add_scalars(group + plain, value, scalars);
    }
  }
  return scalars;
}

std::vector<std::pair<std::string, formats::HyperParameter>> hyper_parameters(const Json& recipe) {
  std::vector<std::pair<std::string, formats::HyperParameter>> parameters;
  add_parameters("", recipe, parameters);
  return parameters;
}

TensorBoardLog::TensorBoardLog(const fs::path& output_dir, const fs::path& logging_dir,
                               const Json& recipe)
    : metrics_(output_dir / "metrics.jsonl"), samples_(output_dir / "samples.jsonl") {
  core::make_folders(logging_dir);
  const std::string ending = name_ending(output_dir, logging_dir);
  const std::vector<fs::path> old_files = event_files(logging_dir, ending);
  const std::vector<EventContent> history = new_contents();
  std::map<EventContent, double> old_times;
  double start = core::seconds_since_1970();
  for (const fs::path& old : old_files) {
    for (const auto& event : formats::read_event_file(old)) {
      old_times[event.content] = event.wall_time;
      if (!history.empty()) start = std::min(start, event.wall_time);
    }
  }
  file_ = std::make_unique<formats::EventFile>(logging_dir / new_file_name(old_files, ending));
  file_->append({start, formats::file_version_content()});
  file_->append({start, formats::session_start_content(0)});
  file_->append({start, formats::hparams_start_content(hyper_parameters(recipe), start)});
  for (const EventContent& content : history) {
    const auto old = old_times.find(content);
    file_->append({old == old_times.end() ? core::seconds_since_1970() : old->second, content});
  }
  for (const fs::path& old : old_files) retire(old);
}

void TensorBoardLog::follow() {
  for (const EventContent& content : new_contents())
    file_->append({core::seconds_since_1970(), content});
}

void TensorBoardLog::finish(formats::SessionStatus status) {
  follow();
  file_->append({core::seconds_since_1970(),
                 formats::hparams_end_content(status, core::seconds_since_1970())});
}

// Of both files, by step: TensorBoard takes a step that goes back for a restart.
std::vector<EventContent> TensorBoardLog::new_contents() {
  std::vector<std::pair<int64_t, EventContent>> contents;
  for (const Json& row : metrics_.new_rows()) {
    const int64_t step = row.at("step");
    if (const auto scalars = scalars_of_row(row); !scalars.empty())
      contents.emplace_back(step, formats::scalars_content(step, scalars));
  }
  for (const Json& row : samples_.new_rows()) {
    if (row.contains("prompt") && row.contains("text"))
      contents.emplace_back(row.at("step").get<int64_t>(), sample_content(row));
  }
  std::stable_sort(contents.begin(), contents.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<EventContent> ordered;
  ordered.reserve(contents.size());
  for (auto& [step, content] : contents) ordered.push_back(std::move(content));
  return ordered;
}

EventContent TensorBoardLog::sample_content(const Json& row) {
  const std::string prompt = row.at("prompt"), text = row.at("text");
  const size_t number = prompt_numbers_.emplace(prompt, prompt_numbers_.size() + 1).first->second;
  return formats::text_content(row.at("step"), "samples/prompt_" + std::to_string(number),
                               {{"prompt", prompt}, {"text", text}});
}

}  // namespace hone::recipes
