#include "core/json.h"

#include <set>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace hone::core {
namespace {

// Builds the document while refusing duplicate keys and deep nesting, which the library itself lets
// pass.
class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  StrictBuilder(Json& root, std::string where, int max_depth)
      : builder_(root, true), where_(std::move(where)), max_depth_(max_depth) {}

  bool null() override { return builder_.null(); }
  bool boolean(bool v) override { return builder_.boolean(v); }
  bool number_integer(number_integer_t v) override { return builder_.number_integer(v); }
  bool number_unsigned(number_unsigned_t v) override { return builder_.number_unsigned(v); }
  bool number_float(number_float_t v, const string_t& s) override {
    return builder_.number_float(v, s);
  }
  bool string(string_t& v) override { return builder_.string(v); }
  bool binary(binary_t& v) override { return builder_.binary(v); }
  bool start_object(size_t n) override {
    enter();
    keys_.emplace_back();
    return builder_.start_object(n);
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      fail(ErrorKind::kBadInput, {.what = "duplicate key \"" + name + "\"", .where = where_});
    }
    return builder_.key(name);
  }
  bool end_object() override {
    --depth_;
    keys_.pop_back();
    return builder_.end_object();
  }
  bool start_array(size_t n) override {
    enter();
    return builder_.start_array(n);
  }
  bool end_array() override {
    --depth_;
    return builder_.end_array();
  }
  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::detail::exception& e) override {
    const std::string message = e.what();
    const size_t colon = message.find("; ");
    fail(ErrorKind::kBadInput,
         {.what = "not valid JSON at byte " + std::to_string(position),
          .where = where_,
          .got = token.empty() ? "end of text" : "\"" + token.substr(0, 40) + "\"",
          .hint = colon == std::string::npos ? "" : message.substr(colon + 2)});
  }

 private:
  void enter() {
    if (++depth_ > max_depth_) {
      fail(ErrorKind::kBadInput, {.what = "JSON is nested too deep",
                                  .where = where_,
                                  .expected = "at most " + std::to_string(max_depth_) + " levels"});
    }
  }

  nlohmann::detail::json_sax_dom_parser<Json> builder_;
  std::string where_;
  int max_depth_;
  int depth_ = 0;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& where, JsonLimits limits) {
  if (text.size() > limits.max_bytes) {
    fail(ErrorKind::kBadInput, {.what = "JSON is too large",
                                .where = where,
                                .got = std::to_string(text.size()) + " bytes",
                                .expected = "at most " + std::to_string(limits.max_bytes)});
  }
  Json root;
  StrictBuilder builder(root, where, limits.max_depth);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return root;
}

Json read_json_file(const std::filesystem::path& path, JsonLimits limits) {
  return parse_json(read_file(path, limits.max_bytes), path.string(), limits);
}

std::string dump_json(const Json& value) { return value.dump(2, ' ', false) + "\n"; }

}  // namespace hone::core
