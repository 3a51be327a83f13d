#include "formats/model_card.h"

#include <cmath>

#include "core/text.h"
#include "core/yaml.h"
#include "tests/formats/support.h"

namespace hone::formats {
namespace {

ModelCard full_card() {
  ModelCard card;
  card.model_id = "me/smollm2-debian";
  card.summary = "Answers questions about Debian packages.";
  card.base_model = "HuggingFaceTB/SmolLM2-135M-Instruct";
  card.base_model_revision = "0123456789abcdef0123456789abcdef01234567";
  card.license = "apache-2.0";
  card.languages = {"en", "no"};
  card.tags = {"debian", "sft"};
  card.datasets = {"me/debian-questions", "/data/local"};
  card.measurements = {
      {"held-out loss", 2.8504, 1.2791}, {"perplexity", 17.2967, 3.5934}, {"accuracy", {}, 0.5}};
  card.loss_curve_file = "loss_curve.svg";
  card.samples = {{"What is vim?", "A kind of cheese.", "An editor.\nImproved vi | more."}};
  card.data = {{"data/train.jsonl", "training", 2000, std::string(64, 'a'), "MIT and others"},
               {"data/test.jsonl", "held-out", 200, std::string(64, 'b'), ""}};
  card.data_note = "Made from package descriptions.";
  card.training = {{"optimizer steps", "200"}, {"time", "5 min 3 s"}};
  card.versions = {{"hone", "0.1.0"}, {"LibTorch", "2.15.0"}};
  card.recipe_yaml = "recipe: sft\nmax_steps: 200\n";
  return card;
}

core::YamlNode front_matter_of(const std::string& markdown) {
  EXPECT_TRUE(markdown.starts_with("---\n"));
  const size_t end = markdown.find("\n---\n", 4);
  EXPECT_NE(end, std::string::npos);
  std::vector<core::YamlProblem> problems;
  const core::YamlNode node = core::parse_yaml(markdown.substr(4, end - 3), problems);
  EXPECT_TRUE(problems.empty());
  return node;
}

std::string scalar_of(const core::YamlNode& node, const std::string& key) {
  const core::YamlNode* value = node.find(key);
  return value == nullptr ? "(absent)" : value->scalar;
}

std::vector<std::string> list_of(const core::YamlNode& node, const std::string& key) {
  std::vector<std::string> items;
  if (const core::YamlNode* value = node.find(key)) {
    for (const core::YamlNode& item : value->items) items.push_back(item.scalar);
  }
  return items;
}

TEST(ModelCard, FrontMatterIsWhatHubsRead) {
  const core::YamlNode yaml = front_matter_of(model_card_markdown(full_card()));
  EXPECT_EQ(scalar_of(yaml, "base_model"), "HuggingFaceTB/SmolLM2-135M-Instruct");
  EXPECT_EQ(scalar_of(yaml, "base_model_relation"), "finetune");
  EXPECT_EQ(scalar_of(yaml, "library_name"), "transformers");
  EXPECT_EQ(scalar_of(yaml, "pipeline_tag"), "text-generation");
  EXPECT_EQ(scalar_of(yaml, "license"), "apache-2.0");
  EXPECT_EQ(list_of(yaml, "language"), (std::vector<std::string>{"en", "no"}));
  EXPECT_TRUE(yaml.find("language")->items[1].quoted);  // else Norwegian is read as false
  EXPECT_EQ(list_of(yaml, "datasets"), std::vector<std::string>{"me/debian-questions"});
  EXPECT_EQ(list_of(yaml, "tags"), (std::vector<std::string>{"hone", "sft", "debian"}));
}

TEST(ModelCard, AdapterIsMarkedAsOne) {
  ModelCard card = full_card();
  card.is_adapter = true;
  const std::string text = model_card_markdown(card);
  const core::YamlNode yaml = front_matter_of(text);
  EXPECT_EQ(scalar_of(yaml, "base_model_relation"), "adapter");
  EXPECT_EQ(scalar_of(yaml, "library_name"), "peft");
  EXPECT_NE(text.find("AutoPeftModelForCausalLM.from_pretrained(\"me/smollm2-debian\")"),
            std::string::npos);
}

TEST(ModelCard, LocalFolderAsBaseStaysOutOfTheFrontMatter) {
  ModelCard card = full_card();
  card.base_model = "/models/smollm2";
  const std::string text = model_card_markdown(card);
  EXPECT_EQ(scalar_of(front_matter_of(text), "base_model"), "(absent)");
  EXPECT_NE(text.find("A full fine-tune of **/models/smollm2**"), std::string::npos);
}

TEST(ModelCard, HasEveryPart) {
  const std::string text = model_card_markdown(full_card());
  for (const char* part :
       {"# me/smollm2-debian\n",
        "Answers questions about Debian packages.",
        "## Results",
        "| held-out loss | 2.8504 | **1.2791** | -55.1 % |",
        "| accuracy | – | **0.5000** | – |",
        "![Training and held-out loss by optimizer step](loss_curve.svg)",
        "## Samples",
        "| What is vim? | A kind of cheese. | An editor.<br>Improved vi \\| more. |",
        "## Data",
        "| data/train.jsonl | training | 2,000 |",
        "| not stated |",
        "Made from package descriptions.",
        "## Training",
        "| optimizer steps | 200 |",
        "## Recipe",
        "```yaml\nrecipe: sft\nmax_steps: 200\n```",
        "## Revisions and versions",
        "| base model revision | 0123456789abcdef0123456789abcdef01234567 |",
        "| LibTorch | 2.15.0 |",
        "## How to use",
        "hone generate me/smollm2-debian --chat",
        "AutoModelForCausalLM.from_pretrained(\"me/smollm2-debian\")"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
  EXPECT_TRUE(text.ends_with("```\n"));
}

TEST(ModelCard, EmptyPartsAreLeftOut) {
  const std::string text = model_card_markdown({.model_id = "me/x"});
  for (const char* part : {"## Results", "## Samples", "## Data", "## Recipe", "## Training",
                           "license", "base_model"}) {
    EXPECT_EQ(text.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(scalar_of(front_matter_of(text), "library_name"), "transformers");
}

TEST(ModelCard, TextCanNotBreakOut) {
  ModelCard card = full_card();
  card.license = "other\n---\n<script>";
  card.license_name = "a: b # c";
  card.tags = {"x\ny", "- z", "{a}", "null", "1.0"};
  card.summary = "# heading\n<img src=x> [link](http://x) `code` ---";
  card.samples = {{"a|b", "```\nx\n```", "<b>bold</b>\r\n\x1b[31m"}};
  card.recipe_yaml = "a: |\n  ````\n  text\n";
  const std::string text = model_card_markdown(card);
  const core::YamlNode yaml = front_matter_of(text);
  EXPECT_EQ(scalar_of(yaml, "license"), "other\n---\n<script>");
  EXPECT_EQ(scalar_of(yaml, "license_name"), "a: b # c");
  EXPECT_EQ(list_of(yaml, "tags"),
            (std::vector<std::string>{"hone", "sft", "x\ny", "- z", "{a}", "null", "1.0"}));
  const std::string body = text.substr(text.find("\n---\n", 4));
  EXPECT_EQ(body.find("<img"), std::string::npos);
  EXPECT_EQ(body.find("<b>"), std::string::npos);
  EXPECT_EQ(body.find('\x1b'), std::string::npos);
  EXPECT_EQ(body.find("\n# heading"), std::string::npos);
  EXPECT_NE(body.find("\\[link\\](http://x)"), std::string::npos);
  EXPECT_NE(body.find("| a\\|b |"), std::string::npos);
  EXPECT_NE(body.find("`````yaml\na: |"), std::string::npos);
}

TEST(ModelCard, NonFiniteMeasurementsShowADash) {
  ModelCard card;
  card.measurements = {{"loss", NAN, 1.0}, {"steps", 0.0, 200.0}};
  const std::string text = model_card_markdown(card);
  EXPECT_NE(text.find("| loss | – | **1** | – |"), std::string::npos);
  EXPECT_NE(text.find("| steps | 0 | **200** | – |"), std::string::npos);
}

TEST(ModelCard, LongSamplesAreCutBetweenCharacters) {
  ModelCard card;
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "é";
  card.samples = {{"p" + text, "", ""}};
  const std::string markdown = model_card_markdown(card);
  EXPECT_NE(markdown.find("é … |"), std::string::npos);
  EXPECT_TRUE(core::is_valid_utf8(markdown));
}

TEST(YamlScalar, OnlyPlainWordsStayUnquoted) {
  EXPECT_EQ(yaml_scalar("apache-2.0"), "apache-2.0");
  EXPECT_EQ(yaml_scalar("org/name"), "org/name");
  for (const std::string text :
       {"", "no", "True", "null", "1.0", "1e5", "-x", ".5", "a b", "é", "a:b", "~"}) {
    EXPECT_EQ(yaml_scalar(text).front(), '"') << text;
  }
}

}  // namespace
}  // namespace hone::formats
