#include <cstdio>
#include <filesystem>
#include <memory>

#include "core/error.h"
#include "recipes/run_report.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

struct ReportArguments {
  std::string run_dir, output;
};

int report(const ReportArguments& a) {
  const std::filesystem::path run_dir = a.run_dir;
  if (!std::filesystem::exists(run_dir / "run.json")) {
    core::fail(core::ErrorKind::kMissingInput,
               {.what = "no run here",
                .where = a.run_dir,
                .expected = "the output_dir of a run, with its run.json"});
  }
  const auto file = a.output.empty() ? run_dir / kReportFile : std::filesystem::path(a.output);
  write_run_report(run_dir, file);
  std::printf("%s\n", file.c_str());
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<ReportArguments>();
  CLI::App* verb = app.add_subcommand("report", "Make report.html of a run again, from its files");
  verb->add_option("run_dir", a->run_dir, "The run's output_dir")->required();
  verb->add_option("--output", a->output, "File to write; default: report.html in the run folder");
  verb->callback([&chosen, a] { chosen = [a] { return report(*a); }; });
}

}  // namespace hone::recipes
