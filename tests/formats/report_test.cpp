#include "formats/report.h"

#include <limits>
#include <regex>

#include "core/hash.h"
#include "formats/report_page.h"
#include "tests/formats/support.h"
#include "tests/formats/well_formed.h"

namespace hone::formats {
namespace {

constexpr const char* kHostile =
    "</style></script><script>alert('1')</script><img src=\"x\" onerror=a> & \x01";

Report whole_report(const std::string& text) {
  const ChartSeries series{text, "s-train", {{0, 3.0}, {1, 2.0}, {2, 1.5}}, true, true};
  return {.title = text,
          .subtitle = text,
          .status = "failed",
          .status_text = text,
          .figures = {{text, text, text, true, false}},
          .loss = {text, text, {series, series}},
          .charts = {{text, text, {series}}},
          .samples = {{text, text, {{0, text}, {1, text}, {2, text}}}},
          .data = {{text, {{text, text}}, {{1, 10, 4}, {11, 20, 1}}, 0.5, 0.9}},
          .seconds = {{text, 2.0, text}, {text, 1.0, text}},
          .memory = {{text, 10, text}},
          .seconds_note = text,
          .memory_note = text,
          .recipe_yaml = text,
          .versions = {{text, text}},
          .links = {{text, text}}};
}

// Without the parts that are the page's own: its style and its script.
std::string without_page(std::string html) {
  for (const std::string& part : {report_style(), report_script()}) {
    const size_t at = html.find(part);
    EXPECT_NE(at, std::string::npos);
    html.erase(at, part.size());
  }
  return html;
}

std::string body_of(const std::string& html) {
  const size_t begin = html.find("<body>"), end = html.find("<script></script>");
  EXPECT_NE(end, std::string::npos);
  return html.substr(begin, end - begin) + "</body>";
}

TEST(ReportPage, IsWellFormedAndKeepsEveryPartApartFromMarkup) {
  const std::string html = without_page(report_html(whole_report(kHostile)));
  std::string body = body_of(html);
  expect_well_formed(body);
  EXPECT_EQ(body.find("<script"), std::string::npos);
  EXPECT_EQ(body.find("<img"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  size_t shown = 0;
  for (size_t at = 0; (at = body.find("&lt;script&gt;alert", at)) != std::string::npos; ++at)
    ++shown;
  EXPECT_GE(shown, 20u) << "every text of the report is shown as it is";
}

TEST(ReportPage, AsksForNothingFromElsewhere) {
  const std::string html = report_html(whole_report("text"));
  for (const char* part : {"http:", "https:", "src=", "@import", "url(", "//cdn"})
    EXPECT_EQ(html.find(part), std::string::npos) << part;
}

TEST(ReportPage, LinksStayInItsFolder) {
  Report report = whole_report("t");
  report.links = {{"javascript:alert(1)", "x"}, {"a b.json", "y"}};
  const std::string html = report_html(report);
  EXPECT_NE(html.find("href=\"./javascript%3Aalert%281%29\""), std::string::npos);
  EXPECT_NE(html.find("href=\"./a%20b.json\""), std::string::npos);
}

TEST(ReportPage, PolicyNamesTheHashOfTheScriptInThePage) {
  // Any text between the script's tags other than the one that was hashed would not run.
  const std::string html = report_html(whole_report("text"));
  EXPECT_NE(html.find("<script>" + report_script() + "</script>"), std::string::npos);
  std::smatch match;
  const std::string policy = report_security_policy();
  ASSERT_TRUE(
      std::regex_search(policy, match, std::regex("script-src 'sha256-([A-Za-z0-9+/]{43}=)'")));
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(html.find("content=\"" + policy + "\""), std::string::npos);
}

TEST(ReportPage, EmptyPartsAreLeftOut) {
  const std::string html = report_html({.title = "t", .status = "running"});
  for (const char* id : {"curves", "samples", "data", "cost", "recipe", "files"})
    EXPECT_EQ(html.find("id=\"" + std::string(id) + "\""), std::string::npos) << id;
  EXPECT_EQ(html.find("<nav>"), std::string::npos);
}

TEST(ReportPage, NumbersThatAreNoneBreakNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Report report = whole_report("t");
  report.loss.series[0].points = {{0, nan}, {1, nan}};
  report.data[0].packing_fill = nan;
  report.seconds = {{"a", nan, ""}, {"b", 1, ""}};
  const std::string body = body_of(without_page(report_html(report)));
  expect_well_formed(body);
  EXPECT_EQ(std::regex_search(body, std::regex("=\"[^\"]*nan")), false);
}

TEST(LineChart, HasALegendOnlyWhereThereIsAChoice) {
  Report report{.title = "t"};
  report.charts = {{"Speed", "", {{"Speed", "s-train", {{1, 2}, {2, 3}}}}}};
  EXPECT_EQ(report_html(report).find("<span class=\"legend\">"), std::string::npos);
  report.charts[0].series.push_back({"other", "s-2", {{1, 2}, {2, 3}}});
  EXPECT_NE(report_html(report).find("<span class=\"legend\">"), std::string::npos);
}

TEST(LineChart, SmallValuesHaveShortLabels) {
  const LineChart chart{"Learning rate", "", {{"lr", "s-train", {{0, 0.0}, {5, 2e-4}}}}};
  const std::string svg = line_chart_svg(chart, {});
  EXPECT_NE(svg.find(">0.0002<"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">0<"), std::string::npos);
}

}  // namespace
}  // namespace hone::formats
