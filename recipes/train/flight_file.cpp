#include "recipes/train/flight_file.h"

#include <unistd.h>

#include <cstdio>

#include "core/environment.h"
#include "core/files.h"
#include "core/text.h"
#include "parallel/liveness/listener.h"

namespace hone::recipes {
namespace {

using core::Json;
using parallel::Loss;
using parallel::LossKind;

Json loss_json(const Loss& loss) {
  Json json{{"rank", loss.rank},
            {"how", loss.kind == LossKind::kClosed   ? "connection closed"
                    : loss.kind == LossKind::kSilent ? "no sign of life"
                                                     : "failed"},
            {"seconds_since_last_sign", loss.silent_seconds},
            {"last", parallel::flight_status_json(loss.last)}};
  if (!loss.what.empty()) json["what"] = loss.what;
  json["noticed_by"] = loss.told_by < 0 ? Json("this rank") : Json(loss.told_by);
  return json;
}

std::string how_text(const Loss& loss) {
  switch (loss.kind) {
    case LossKind::kClosed:
      return "was killed, or its machine is gone";
    case LossKind::kFailed:
      return "failed: " + core::excerpt(loss.what, 120);
    case LossKind::kSilent:
      break;
  }
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.1f", loss.silent_seconds);
  return "gave no sign of life for " + std::string(seconds) + " s: it is stopped or cut off";
}

}  // namespace

std::filesystem::path flight_path(const std::filesystem::path& output_dir, int rank) {
  return output_dir / "flight-record" / ("rank-" + std::to_string(rank) + ".json");
}

void write_flight_file(const std::filesystem::path& output_dir, const FlightFile& file,
                       const parallel::FlightRecord& record) {
  Json json{{"rank", file.rank},     {"host", core::host_name()},
            {"process", ::getpid()}, {"written", core::seconds_since_1970()},
            {"reason", file.reason}, {"step", record.status().step},
            {"lost", Json::array()}, {"actions", Json::array()}};
  for (const Loss& loss : file.losses) json["lost"].push_back(loss_json(loss));
  for (const parallel::FlightEntry& entry : record.entries())
    json["actions"].push_back(parallel::flight_entry_json(entry));
  const std::filesystem::path path = flight_path(output_dir, file.rank);
  core::make_folders(path.parent_path());
  core::write_file_atomic(path, core::dump_json(json));
}

std::string loss_text(const Loss& loss, const std::string& host) {
  std::string text = "rank " + std::to_string(loss.rank) + " on " + host + " " + how_text(loss);
  text += "; its last action: " + parallel::describe(loss.last.action);
  if (loss.last.action.number != 0) text += " after step " + std::to_string(loss.last.action.step);
  text += "; its last call: " + parallel::describe(loss.last.call);
  if (loss.last.call.number != 0) text += loss.last.call.ended == 0 ? " (waiting)" : " (done)";
  return text;
}

}  // namespace hone::recipes
