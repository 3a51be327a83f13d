// report.html: a run on one page that needs nothing from elsewhere: no request, no library. Its own
// content security policy forbids both, and any script but the page's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/line_chart.h"

namespace hone::formats {

using NamedText = std::pair<std::string, std::string>;

// A number that sums the run up, large at the top of the page.
struct ReportFigure {
  std::string name, value, note;
  bool is_good = false, is_bad = false;  // of the note
};

struct ReportSample {
  std::string prompt;
  std::string reference;  // what the data says, "" if not known
  std::vector<std::pair<int64_t, std::string>>
      texts;  // by step: the first is before, the last after
};

struct ReportBin {
  int64_t low = 0, high = 0;  // tokens, both included
  int64_t num_rows = 0;
};

struct ReportData {
  std::string name;  // "Training"
  std::vector<NamedText> facts;
  std::vector<ReportBin> lengths;       // of rows; empty: not known
  std::optional<double> trained_share;  // of tokens, 0 to 1
  std::optional<double> packing_fill;   // of the packs' room, 0 to 1
};

// A part of a whole: seconds, bytes.
struct ReportPart {
  std::string name;
  double amount = 0;
  std::string text;  // "1.2 GB"
};

struct ReportLink {
  std::string file, what;  // beside the report
};

// Plain values; empty ones leave their part out. All text is data and comes out as it is.
struct Report {
  std::string title, subtitle;
  std::string status;  // "finished", "running", "stopped", "failed"
  std::string status_text;
  std::vector<ReportFigure> figures;
  LineChart loss;
  std::vector<LineChart> charts;
  std::vector<ReportSample> samples;
  std::vector<ReportData> data;
  std::vector<ReportPart> seconds, memory;
  std::string seconds_note, memory_note;
  std::string recipe_yaml;
  std::vector<NamedText> versions;
  std::vector<ReportLink> links;
};

std::string report_html(const Report& report);

}  // namespace hone::formats
