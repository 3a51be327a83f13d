// report.html of a run folder, made from its files: run.json, metrics.jsonl, samples.jsonl.
#pragma once

#include <filesystem>

#include "core/json.h"
#include "data/loader.h"
#include "formats/report.h"

namespace hone::recipes {

inline constexpr const char* kReportFile = "report.html";

// For run.json: "lengths" [[low, high, rows], ...] and, with packing, "packing_fill".
void add_statistics(const data::TokenCache& cache, const data::Loader& loader,
                    const data::LoaderOptions& options, core::Json& data_info);

// What the folder tells, also of a run that goes on, failed, or was made by an older version.
// Throws kMissingInput without a run.json, kBadInput for one that isn't JSON.
formats::Report read_run_report(const std::filesystem::path& run_dir);

// Writes it to `file`, atomically.
void write_run_report(const std::filesystem::path& run_dir, const std::filesystem::path& file);

}  // namespace hone::recipes
