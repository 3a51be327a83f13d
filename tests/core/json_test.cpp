#include "core/json.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/core/temp_folder.h"

namespace hone::core {
namespace {

std::string message_of(std::string_view text, JsonLimits limits = {}) {
  try {
    parse_json(text, "x.json", limits);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

TEST(Json, KeysKeepTheirOrder) {
  EXPECT_EQ(dump_json(parse_json(R"({"b": 1, "a": [1.5, null, "ü"]})", "x")),
            "{\n  \"b\": 1,\n  \"a\": [\n    1.5,\n    null,\n    \"ü\"\n  ]\n}\n");
}

TEST(Json, DuplicateKeyIsAnError) {
  EXPECT_EQ(message_of(R"({"a": 1, "b": {"c": 1, "c": 2}})"), "x.json: duplicate key \"c\"");
  EXPECT_EQ(message_of(R"({"a": {"c": 1}, "b": {"c": 2}})"), "");
}

TEST(Json, BadTextNamesTheByte) {
  EXPECT_NE(message_of("{\"a\": nul}").find("x.json: not valid JSON at byte 10"), std::string::npos)
      << message_of("{\"a\": nul}");
  EXPECT_NE(message_of("").find("not valid JSON"), std::string::npos);
  EXPECT_NE(message_of("{} {}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(message_of("[1, 2").find("not valid JSON"), std::string::npos);
  EXPECT_NE(message_of("[\"\xff\"]").find("not valid JSON"), std::string::npos);
}

TEST(Json, DepthAndSizeAreLimited) {
  EXPECT_EQ(message_of(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_NE(message_of(std::string(65, '[') + std::string(65, ']')).find("nested too deep"),
            std::string::npos);
  EXPECT_NE(message_of(std::string(1 << 20, '[')).find("nested too deep"), std::string::npos);
  EXPECT_NE(message_of("[1, 2, 3]", {.max_bytes = 4}).find("too large"), std::string::npos);
}

TEST(Json, FileErrorsNameThePath) {
  const TempFolder folder;
  const auto path = folder.write("a.json", "{");
  try {
    read_json_file(path);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos);
  }
}

}  // namespace
}  // namespace hone::core
