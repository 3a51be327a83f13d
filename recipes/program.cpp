#include "recipes/program.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "core/environment.h"
#include "core/log.h"
#include "core/text.h"

namespace hone::recipes {
namespace {

using core::Error;
using core::ErrorKind;

int report(const Error& error) {
  std::fflush(stdout);
  std::fputs(error_report(error).c_str(), stderr);
  return error.exit_code();
}

// Help and version are no errors; everything else a command line can be is wrong usage.
int report_usage(const CLI::App& app, const CLI::ParseError& e) {
  if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(e);
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  const std::string name = verb == &app ? app.get_name() : app.get_name() + " " + verb->get_name();
  return report(Error(ErrorKind::kUsage,
                      {.what = e.what(), .where = name, .hint = "see " + name + " --help"}));
}

// A first word that is no verb: the parser would only say that a verb is missing.
void check_verb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  if (std::find(names.begin(), names.end(), argv[1]) != names.end()) return;
  const std::string suggestion = core::did_you_mean(argv[1], names);
  core::fail(ErrorKind::kUsage,
             {.what = "unknown verb '" + core::excerpt(argv[1], 40) + "'",
              .where = app.get_name(),
              .expected = core::join(names, ", "),
              .hint = suggestion.empty() ? "" : "did you mean '" + suggestion + "'?"});
}

int run_guarded(const Action& action) {
  try {
    return action();
  } catch (const Error& e) {
    return report(e);
  } catch (const std::bad_alloc&) {
    return report(Error(
        ErrorKind::kInternal,
        {.what = "out of memory", .hint = "a smaller micro_batch_size or max_length needs less"}));
  } catch (const std::exception& e) {
    return report(Error(ErrorKind::kInternal, {.what = e.what()}));
  }
}

}  // namespace

std::string error_report(const Error& error, int rank, std::optional<int64_t> step) {
  const std::string text = core::redact(error.what());
  const std::string what = core::redact(error.detail().what);
  std::string fatal = "FATAL " + std::to_string(error.exit_code()) +
                      " rank=" + std::to_string(rank) + " host=" + core::host_name() +
                      (step ? " step=" + std::to_string(*step) : "") +
                      " what=" + core::excerpt(what.substr(0, what.find('\n')), 400);
  if (!error.detail().where.empty())
    fatal += " where=" + core::excerpt(core::redact(error.detail().where), 200);
  return text + "\n" + fatal + "\n";
}

std::string version_text() { return "hone " HONE_VERSION; }

int run_program(int argc, char** argv, const std::string& description,
                const std::vector<AddVerb>& verbs) {
  core::set_up_log(0, false);
  CLI::App app(description, "hone");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  Action chosen;
  for (const AddVerb& add : verbs) add(app, chosen);
  try {
    check_verb(app, argc, argv);
    app.parse(argc, argv);
  } catch (const Error& e) {
    return report(e);
  } catch (const CLI::ParseError& e) {
    return report_usage(app, e);
  }
  return run_guarded(chosen);
}

}  // namespace hone::recipes
