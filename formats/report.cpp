#include "formats/report.h"

#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "formats/report_page.h"
#include "formats/svg_axis.h"

namespace hone::formats {
namespace {

std::string count(int64_t n) {
  return core::format_count(static_cast<uint64_t>(std::max<int64_t>(0, n)));
}

std::string percent(double share) { return format_fixed(100 * share, 1) + "\u00a0%"; }

std::string element(const std::string& tag, const std::string& style, const std::string& text) {
  const std::string opening = style.empty() ? tag : tag + " class=\"" + style + "\"";
  return "<" + opening + ">" + escape_xml(text) + "</" + tag + ">";
}

// A part of the page; nothing when it has no content.
struct Section {
  std::string id, title, html;
};

std::string section_html(const Section& s) {
  return "<section id=\"" + s.id + "\">\n<h2>" + s.title + "</h2>\n" + s.html + "</section>\n";
}

std::string table(const std::vector<NamedText>& rows, const std::string& style) {
  std::string html = style.empty() ? "<table>" : "<table class=\"" + style + "\">";
  for (const auto& [name, text] : rows)
    html += "<tr>" + element("th", "", name) + element("td", "", text) + "</tr>\n";
  return html + "</table>\n";
}

std::string legend(const LineChart& chart) {
  if (chart.series.size() < 2) return "";
  std::string html = "<span class=\"legend\">";
  for (const ChartSeries& s : chart.series)
    html += "<span><i class=\"" + s.style + "\"></i>" + escape_xml(s.name) + "</span>";
  return html + "</span>";
}

std::string captioned(const LineChart& chart, const std::string& plots) {
  return "<div><div class=\"caption\">" + element("h3", "", chart.title) +
         (chart.unit.empty() ? "" : element("span", "soft", chart.unit)) + legend(chart) +
         "</div>\n" + plots + "</div>\n";
}

std::string plot(const LineChart& chart, ChartSize size, const std::string& style = "") {
  return "<div class=\"plot" + style + "\">" + line_chart_svg(chart, size) + "</div>";
}

Section curves(const Report& report) {
  Section s{"curves", "Curves", ""};
  if (has_points(report.loss)) {
    s.html +=
        captioned(report.loss, plot(report.loss, {.width = 1080, .height = 380}, " wide") +
                                   plot(report.loss, {.width = 380, .height = 300}, " narrow"));
  }
  std::string small;
  for (const LineChart& chart : report.charts) {
    if (has_points(chart)) small += captioned(chart, plot(chart, {}));
  }
  if (!small.empty())
    s.html += "<div class=\"several\" style=\"margin-top:22px\">\n" + small + "</div>\n";
  return s;
}

std::string answer(const std::string& style, const std::string& heading, const std::string& text) {
  return "<div class=\"" + style + "\">" + element("h4", "", heading) +
         (text.empty() ? element("p", "soft", "(nothing)") : element("p", "text", text)) +
         "</div>\n";
}

std::string sample_html(const ReportSample& sample) {
  std::string html =
      "<div class=\"sample\">" + element("p", "prompt", sample.prompt) + "<div class=\"side\">\n";
  const size_t n = sample.texts.size();
  if (n > 1) {
    html += answer("before", "before, step " + count(sample.texts.front().first),
                   sample.texts.front().second);
  }
  if (n > 0)
    html += answer("after", (n > 1 ? "after, step " : "step ") + count(sample.texts.back().first),
                   sample.texts.back().second);
  if (!sample.reference.empty()) html += answer("reference", "in the data", sample.reference);
  html += "</div>\n";
  if (n > 2) {
    html += "<details><summary>" + count(static_cast<int64_t>(n) - 2) + " in between</summary>\n";
    for (size_t i = 1; i + 1 < n; ++i) {
      html += element("h4", "", "step " + count(sample.texts[i].first)) +
              element("p", "text", sample.texts[i].second);
    }
    html += "</details>\n";
  }
  return html + "</div>\n";
}

Section samples(const Report& report) {
  Section s{"samples", "Samples", ""};
  for (const ReportSample& sample : report.samples) s.html += sample_html(sample);
  return s;
}

std::string histogram(const std::vector<ReportBin>& bins) {
  constexpr double kWidth = 400, kHeight = 170, kTop = 18, kBottom = 144;
  int64_t most = 1;
  for (const ReportBin& bin : bins) most = std::max(most, bin.num_rows);
  std::string html =
      "<h3>Row lengths <span class=\"soft\">in tokens</span></h3><svg class=\"chart\" viewBox=\"0 "
      "0 400 170\" role=\"img\" aria-label=\"";
  for (const ReportBin& bin : bins)
    html +=
        count(bin.low) + " to " + count(bin.high) + " tokens: " + count(bin.num_rows) + " rows. ";
  html += "\">";
  const double width = kWidth / static_cast<double>(bins.size());
  for (size_t i = 0; i < bins.size(); ++i) {
    const double height =
        (kBottom - kTop) * static_cast<double>(bins[i].num_rows) / static_cast<double>(most);
    const double x = width * static_cast<double>(i);
    html += "<rect class=\"bar\" rx=\"2\" x=\"" + format_fixed(x + 1, 1) + "\" y=\"" +
            format_fixed(kBottom - height, 1) + "\" width=\"" + format_fixed(width - 2, 1) +
            "\" height=\"" + format_fixed(height, 1) + "\"><title>" + count(bins[i].low) + " to " +
            count(bins[i].high) + " tokens: " + count(bins[i].num_rows) + " rows</title></rect>";
  }
  const auto label = [&](double x, double y, const char* anchor, const std::string& text) {
    return "<text x=\"" + format_fixed(x, 1) + "\" y=\"" + format_fixed(y, 1) +
           "\" text-anchor=\"" + anchor + "\">" + text + "</text>";
  };
  html += "<line class=\"axis\" x1=\"0\" x2=\"400\" y1=\"144\" y2=\"144\"/>";
  const size_t every = std::max<size_t>(1, (bins.size() + 4) / 5);
  for (size_t i = 0; i + every / 2 < bins.size(); i += every)
    html += label(width * static_cast<double>(i), kHeight - 10, i == 0 ? "start" : "middle",
                  count(bins[i].low));
  html += label(kWidth, kHeight - 10, "end", count(bins.back().high));
  return html + label(0, 11, "start", "up to " + count(most) + " rows") + "</svg>\n";
}

std::string meter(const std::string& name, double share) {
  const double width = std::clamp(std::isfinite(share) ? 100 * share : 0.0, 0.0, 100.0);
  return "<div class=\"caption\">" + element("h3", "", name) +
         element("span", "soft", percent(share)) +
         "</div><div class=\"meter\"><i style=\"width:" + format_fixed(width, 2) +
         "%\"></i></div>\n";
}

Section data_statistics(const Report& report) {
  Section s{"data", "Data", ""};
  for (const ReportData& data : report.data) {
    s.html += "<div>" + element("h3", "", data.name) + table(data.facts, "");
    if (data.trained_share) s.html += meter("Trained tokens", *data.trained_share);
    if (data.packing_fill) s.html += meter("Packing fill", *data.packing_fill);
    if (!data.lengths.empty()) s.html += histogram(data.lengths);
    s.html += "</div>\n";
  }
  if (!s.html.empty()) s.html = "<div class=\"two\">\n" + s.html + "</div>\n";
  return s;
}

std::string parts_html(const std::string& title, const std::vector<ReportPart>& parts,
                       const std::string& note) {
  double total = 0;
  for (const ReportPart& part : parts) total += std::max(0.0, part.amount);
  if (!(total > 0)) return "";
  std::string stack, rows;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double share = std::max(0.0, parts[i].amount) / total;
    const std::string style = "s-" + std::to_string(i % 8 + 1);
    stack += "<i class=\"" + style + "\" style=\"flex:" + format_fixed(1000 * share, 2) + "\"></i>";
    rows += "<tr><th><span class=\"key " + style + "\"></span>" + escape_xml(parts[i].name) +
            "</th>" + element("td", "", parts[i].text) + element("td", "soft", percent(share)) +
            "</tr>\n";
  }
  return "<div>" + element("h3", "", title) + "<div class=\"stack\" style=\"margin-top:8px\">" +
         stack + "</div><table>" + rows + "</table>" +
         (note.empty() ? "" : element("p", "soft", note)) + "</div>\n";
}

Section cost(const Report& report) {
  Section s{"cost", "Time and memory", ""};
  s.html = parts_html("Time by part", report.seconds, report.seconds_note) +
           parts_html("Memory", report.memory, report.memory_note);
  if (!s.html.empty()) s.html = "<div class=\"two\">\n" + s.html + "</div>\n";
  return s;
}

Section recipe(const Report& report) {
  if (report.recipe_yaml.empty()) return {};
  return {"recipe", "Recipe",
          "<details><summary>Every key with its value</summary>" +
              element("pre", "", report.recipe_yaml) + "</details>\n"};
}

// A file's own name in a link: what is not plain is percent-encoded, so that it is never a scheme.
std::string link_target(const std::string& file) {
  std::string target = "./";
  for (const char c : file) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '.' || c == '-' || c == '_' || c == '/') {
      target += c;
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      target += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return target;
}

Section made_with(const Report& report) {
  Section s{"files", "Files and versions", ""};
  if (!report.links.empty()) {
    s.html += "<table class=\"left\">";
    for (const ReportLink& link : report.links) {
      s.html += "<tr><th><a href=\"" + link_target(link.file) + "\">" + escape_xml(link.file) +
                "</a></th>" + element("td", "", link.what) + "</tr>\n";
    }
    s.html += "</table>\n";
  }
  if (!report.versions.empty()) s.html += table(report.versions, "left");
  if (!s.html.empty()) s.html = "<div class=\"two\">\n" + s.html + "</div>\n";
  return s;
}

std::string heading(const Report& report) {
  std::string html = "<header><div class=\"head\">" + element("h1", "", report.title) +
                     element("span", "badge " + escape_xml(report.status), report.status) +
                     "</div>\n";
  if (!report.subtitle.empty()) html += element("p", "soft", report.subtitle) + "\n";
  if (!report.status_text.empty())
    html += element("p", report.status == "failed" ? "error" : "soft", report.status_text) + "\n";
  if (report.figures.empty()) return html + "</header>\n";
  html += "<dl class=\"figures\">\n";
  for (const ReportFigure& f : report.figures) {
    html += "<div class=\"figure\">" + element("dt", "", f.name) + "<dd>" + escape_xml(f.value) +
            (f.note.empty() ? ""
                            : element("span",
                                      std::string("note") + (f.is_good  ? " good"
                                                             : f.is_bad ? " bad"
                                                                        : ""),
                                      f.note)) +
            "</dd></div>\n";
  }
  return html + "</dl></header>\n";
}

}  // namespace

std::string report_html(const Report& report) {
  std::string links, body;
  for (const Section& s : {curves(report), samples(report), data_statistics(report), cost(report),
                           recipe(report), made_with(report)}) {
    if (s.html.empty()) continue;
    links += "<a href=\"#" + s.id + "\">" + s.title + "</a>";
    body += section_html(s);
  }
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
         report_security_policy() +
         "\">\n"
         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" "
         "href=\"data:,\">\n" +
         element("title", "", report.title) + "\n<style>" + report_style() +
         "</style>\n</head>\n<body>\n" + heading(report) +
         (links.empty() ? "" : "<nav><div>" + links + "</div></nav>\n") + "<main>\n" + body +
         "</main>\n<footer>Made by hone from the files of the run: <code>hone report</code> makes "
         "it again.</footer>\n<script>" +
         report_script() + "</script>\n</body>\n</html>\n";
}

}  // namespace hone::formats
