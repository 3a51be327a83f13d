#include "recipes/run_report.h"

#include "recipes/run_charts.h"
#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;

const char* kRun = R"({"recipe": {"model_name_or_path": "me/base", "hub_model_id": null,
  "adapter": {"type": "lora", "path": null, "r": 8}, "learning_rate": 0.001},
  "model": {"name": "me/base", "commit": "abc"},
  "data": {"train": {"rows": 1234, "tokens": 1000, "trained_tokens": 250, "truncated_rows": 7,
                     "lengths": [[1, 10, 5], [11, 20, 6]], "packing_fill": 0.75},
           "eval": {"rows": 10}},
  "max_steps": 4, "num_parameters": 200, "num_trainable": 50, "param_bytes": [2000000],
  "optimizer_bytes": [1000000], "memory": {"peak_rss_bytes": 5000000},
  "seconds": {"forward": 1.5, "backward": 3.0},
  "throughput": {"flops_share": 0.5, "formula": "x GFLOP"},
  "dtype": {"name": "float32", "reason": "recipe"}, "versions": {"hone": "hone 9"},
  "outcome": {"status": "finished", "step": 4}})";

const char* kMetrics =
    "{\"step\":0,\"eval_loss\":2.5,\"eval_datasets\":{\"chat\":{\"loss\":2.25}}}\n"
    "{\"step\":2,\"loss\":2.0,\"learning_rate\":1e-4,\"tokens\":100,\"tokens_per_second\":50,"
    "\"datasets\":{\"chat\":{\"loss\":1.75,\"trained_tokens\":3},\"code\":{\"loss\":1.5}}}\n"
    "{\"step\":4,\"loss\":1.5,\"learning_rate\":5e-5,\"tokens\":23456,\"tokens_per_second\":60}\n"
    "{\"step\":4,\"eval_loss\":1.25}\n";

class RunReportTest : public testing::Test {
 protected:
  RunReportTest() {
    test::write_text(run_ / "run.json", kRun);
    test::write_text(run_ / "metrics.jsonl", kMetrics);
  }
  test::TemporaryFolder folder_;
  const fs::path run_ = folder_ / "demo";
};

std::string figure(const formats::Report& report, const std::string& name) {
  for (const auto& f : report.figures) {
    if (f.name == name) return f.value + " | " + f.note + (f.is_good ? " | good" : "");
  }
  return "";
}

TEST_F(RunReportTest, SumsUpTheRun) {
  const formats::Report report = read_run_report(run_);
  EXPECT_EQ(report.title, "demo");
  EXPECT_EQ(report.status, "finished");
  EXPECT_NE(report.subtitle.find("LoRA adapter (r 8) for me/base"), std::string::npos);
  EXPECT_EQ(figure(report, "Held-out loss"), "1.250 | 2.500 before, −50.0\u00a0% | good");
  EXPECT_EQ(figure(report, "Steps"), "4 | of 4");
  EXPECT_EQ(figure(report, "Tokens"), "23,456 | ");
  EXPECT_EQ(figure(report, "Time"), "4.5 s | ");
  EXPECT_EQ(figure(report, "Tokens a second"), "60 | 50.0\u00a0% of the machine's GEMM rate");
  ASSERT_EQ(report.data.size(), 2u);
  EXPECT_EQ(report.data[0].facts[0].second, "1,234");
  EXPECT_EQ(report.data[0].trained_share, 0.25);
  EXPECT_EQ(report.data[0].packing_fill, 0.75);
  ASSERT_EQ(report.data[0].lengths.size(), 2u);
  EXPECT_EQ(report.data[0].lengths[1].num_rows, 6);
  ASSERT_EQ(report.seconds.size(), 2u);
  EXPECT_EQ(report.seconds[0].name, "backward");
  EXPECT_EQ(report.seconds_note, "x GFLOP");
  ASSERT_EQ(report.memory.size(), 4u);
  EXPECT_DOUBLE_EQ(report.memory[3].amount, 5e6 - 3e6 - 200);
  EXPECT_NE(report.recipe_yaml.find("learning_rate: 0.001"), std::string::npos);
}

TEST_F(RunReportTest, DrawsEveryNumberThatIsLogged) {
  const formats::Report report = read_run_report(run_);
  ASSERT_EQ(report.loss.series.size(), 2u);
  EXPECT_EQ(report.loss.series[0].points.size(), 2u);
  EXPECT_EQ(report.loss.series[1].points.back().loss, 1.25);
  std::vector<std::string> titles;
  for (const auto& chart : report.charts) titles.push_back(chart.title);
  EXPECT_EQ(titles,
            (std::vector<std::string>{"Training loss by dataset", "Held-out loss by dataset",
                                      "Learning rate", "Speed"}));
  EXPECT_EQ(report.charts[0].series.size(), 2u);
  EXPECT_EQ(report.charts[0].series[0].points[0].loss, 1.75);
}

TEST_F(RunReportTest, PutsWhatAModelSaidSideBySide) {
  test::write_text(run_ / "samples.jsonl",
                   "{\"step\":0,\"prompt\":\"a\",\"text\":\"before a\"}\n"
                   "{\"step\":0,\"prompt\":\"b\",\"text\":\"before b\",\"reference\":\"right\"}\n"
                   "{\"step\":4,\"prompt\":\"a\",\"text\":\"after a\"}\n");
  const formats::Report report = read_run_report(run_);
  ASSERT_EQ(report.samples.size(), 2u);
  EXPECT_EQ(report.samples[0].texts,
            (std::vector<std::pair<int64_t, std::string>>{{0, "before a"}, {4, "after a"}}));
  EXPECT_EQ(report.samples[1].reference, "right");
}

TEST_F(RunReportTest, TellsOfAFailedRunAndOneWithoutRows) {
  fs::remove(run_ / "metrics.jsonl");
  test::write_text(run_ / "run.json",
                   R"({"outcome":{"status":"failed","step":3,"error":"no space"}})");
  const formats::Report report = read_run_report(run_);
  EXPECT_EQ(report.status_text, "Failed at step 3: no space");
  EXPECT_NE(formats::report_html(report).find("no space"), std::string::npos);
}

TEST_F(RunReportTest, IsWrittenByTheVerbOrRefusedWithTheFolderNamed) {
  write_run_report(run_, run_ / kReportFile);
  EXPECT_NE(test::slurp(run_ / kReportFile).find("<title>demo</title>"), std::string::npos);
  test::write_text(run_ / "run.json", "{");
  EXPECT_THROW(read_run_report(run_), core::Error);
  fs::remove(run_ / "run.json");
  EXPECT_THROW(read_run_report(run_), core::Error);
}

}  // namespace
}  // namespace hone::recipes
