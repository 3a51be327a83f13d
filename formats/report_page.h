// The parts of report.html that don't depend on the run.
#pragma once

#include <string>

namespace hone::formats {

const std::string& report_style();   // CSS
const std::string& report_script();  // values under the pointer; the page is whole without it
// "default-src 'none'; ...": inline style, and this script alone, by its hash.
std::string report_security_policy();

}  // namespace hone::formats
