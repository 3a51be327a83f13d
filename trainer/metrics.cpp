#include "trainer/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace hone::trainer {
namespace {

using core::Json;

bool stays(const Json& row, const ResumePoint& resume) {
  const int64_t step = row.at("step").get<int64_t>();
  if (step != resume.step) return step < resume.step;
  return row.contains("eval_loss") ? resume.keep_eval_row : resume.keep_train_row;
}

// The row as JSON, or null for a line that is torn or not a row.
Json parse_row(const std::string& line) {
  const Json row = Json::parse(line, nullptr, false);
  const bool is_row = row.is_object() && row.contains("step") && row["step"].is_number_integer();
  return is_row ? row : Json();
}

}  // namespace

std::string train_row_json(const TrainRow& row) {
  Json json;
  json["step"] = row.step;
  json["loss"] = row.loss;
  json["learning_rate"] = row.learning_rate;
  json["grad_norm"] = row.grad_norm;
  json["tokens"] = row.num_tokens;
  json["tokens_per_second"] = row.tokens_per_second;
  return json.dump();
}

std::string eval_row_json(int64_t step, double eval_loss) {
  Json json;
  json["step"] = step;
  json["eval_loss"] = eval_loss;
  return json.dump();
}

MetricsFile::MetricsFile(const std::filesystem::path& path,
                         const std::optional<ResumePoint>& resume)
    : path_(path) {
  std::string kept;
  if (resume && std::filesystem::exists(path)) {
    const std::string text = core::read_file(path);
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const std::string line = text.substr(begin, end - begin);
      const Json row = parse_row(line);
      if (row.is_null() || !stays(row, *resume)) continue;
      kept += line + "\n";
      if (row.contains("eval_loss")) eval_steps_.push_back(row["step"].get<int64_t>());
    }
  }
  core::write_file_atomic(path, kept);
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor_ < 0) core::fail_errno("can't open", path, errno);
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::append(const std::string& row_json) {
  const std::string line = row_json + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) core::fail_errno("can't write", path_, errno);
    done += static_cast<size_t>(n);
  }
}

void MetricsFile::sync() {
  if (::fsync(descriptor_) != 0) core::fail_errno("can't sync", path_, errno);
}

bool MetricsFile::has_eval_row(int64_t step) const {
  return std::ranges::find(eval_steps_, step) != eval_steps_.end();
}

}  // namespace hone::trainer
