// What both programs share: how a command line becomes a verb, and how an error becomes an exit
// code.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace hone::recipes {

// A verb adds its arguments to `app` and returns what to run once they are parsed. The function
// gives the exit code.
using Action = std::function<int()>;
using AddVerb = std::function<void(CLI::App& app, Action& chosen)>;

// Parses, runs the chosen verb, and turns every error into a message on stderr and an exit code.
// Wrong usage is 64.
int run_program(int argc, char** argv, const std::string& description,
                const std::vector<AddVerb>& verbs);

// The message and one line "FATAL <code> rank=R host=H [step=S] what=W where=P" for schedulers and
// log searches.
std::string error_report(const core::Error& error, int rank = 0, std::optional<int64_t> step = {});

// The text after "--version".
std::string version_text();

}  // namespace hone::recipes
