#include "core/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>
#include <unordered_map>

#include "core/text.h"

namespace hone::core {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxNodes = 100'000;

struct Stop {
  YamlProblem problem;
};

int line_of(const YAML::Mark& mark) { return mark.line + 1; }

size_t count_nodes(const YamlNode& node) {
  size_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  for (const YamlNode::Entry& entry : node.entries) count += 1 + count_nodes(entry.value);
  return count;
}

// Turns parser events into nodes. A collection stays in `open_` until its end event, so that what
// was read before an error can still be handed out.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(std::vector<YamlProblem>& problems) : problems_(problems) {}

  // Closes what an error left open.
  YamlNode take() {
    while (!open_.empty()) {
      Frame frame = std::move(open_.back());
      open_.pop_back();
      const bool is_value = open_.empty() || open_.back().has_key ||
                            open_.back().node.kind == YamlNode::Kind::kSequence;
      if (is_value) attach(std::move(frame.node));
    }
    return std::move(root_);
  }
  int num_documents() const { return num_documents_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++num_documents_ > 1) throw Stop{{line_of(mark), "more than one document in the file"}};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add({.kind = YamlNode::Kind::kNull, .line = line_of(mark)}, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw Stop{{line_of(mark), "an alias refers to the value it is in"}};
    spend(found->second.second, line_of(mark));
    YamlNode copy = found->second.first;
    copy.line = line_of(mark);
    attach(std::move(copy));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // The parser tags plain scalars "?" and every other style "!".
    add({.kind = YamlNode::Kind::kScalar,
         .line = line_of(mark),
         .scalar = value,
         .quoted = tag != "?"},
        anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kSequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    bool skip_value = false;  // the value of a key that can't be kept
    std::string key;
    int key_line = 0;
    std::unordered_map<std::string, int> key_lines;
  };

  void spend(size_t num_nodes, int line) {
    num_nodes_ += num_nodes;
    if (num_nodes_ > kMaxNodes) {
      throw Stop{{line, "more than " + format_count(kMaxNodes) + " values, aliases expanded"}};
    }
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    spend(1, line_of(mark));
    if (open_.size() >= static_cast<size_t>(kMaxDepth)) {
      throw Stop{{line_of(mark), "nested deeper than " + std::to_string(kMaxDepth) + " levels"}};
    }
    open_.push_back({.node = {.kind = kind, .line = line_of(mark)}, .anchor = anchor});
  }

  void close() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    remember(frame.node, frame.anchor);
    attach(std::move(frame.node));
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    spend(1, node.line);
    remember(node, anchor);
    attach(std::move(node));
  }

  // The stored copy counts too: nested anchors would else cost memory that the budget doesn't see.
  void remember(const YamlNode& node, YAML::anchor_t anchor) {
    if (anchor == YAML::NullAnchor) return;
    const size_t size = count_nodes(node);
    spend(size, node.line);
    anchors_[anchor] = {node, size};
  }

  void attach(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      take_key(parent, node);
    } else {
      parent.has_key = false;
      // An empty value is marked where the next token stands.
      if (node.kind == YamlNode::Kind::kNull) node.line = parent.key_line;
      if (!parent.skip_value) {
        parent.node.entries.push_back({parent.key, parent.key_line, std::move(node)});
      }
    }
  }

  void take_key(Frame& frame, const YamlNode& node) {
    frame.has_key = true;
    frame.skip_value = node.kind != YamlNode::Kind::kScalar;
    frame.key = node.scalar;
    frame.key_line = node.line;
    if (frame.skip_value) {
      problems_.push_back({node.line, "a key must be plain text"});
      return;
    }
    const auto [first, is_new] = frame.key_lines.emplace(node.scalar, node.line);
    if (is_new) return;
    frame.skip_value = true;
    problems_.push_back({node.line, "duplicate key '" + excerpt(node.scalar, 60) +
                                        "', first on line " + std::to_string(first->second)});
  }

  std::vector<YamlProblem>& problems_;
  std::vector<Frame> open_;
  std::unordered_map<YAML::anchor_t, std::pair<YamlNode, size_t>> anchors_;
  YamlNode root_;
  size_t num_nodes_ = 0;
  int num_documents_ = 0;
};

// Whether a line such as "key: |-" opens a block scalar, whose lines may hold tabs.
bool opens_block_scalar(std::string_view line) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
  while (!line.empty() &&
         (line.back() == '-' || line.back() == '+' || (line.back() >= '1' && line.back() <= '9'))) {
    line.remove_suffix(1);
  }
  return line.size() >= 2 && (line.back() == '|' || line.back() == '>') &&
         line[line.size() - 2] == ' ';
}

// What the parser would misread or report badly: returns the first such line's problem.
bool find_bad_text(std::string_view text, YamlProblem& problem) {
  size_t block_indent = std::string_view::npos;  // indent of the line that opened a block scalar
  int number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.find('\0') != std::string_view::npos) {
      problem = {number, "NUL byte"};
      return true;
    }
    if (!is_valid_utf8(line)) {
      problem = {number, "not valid UTF-8: " + excerpt(line, 60)};
      return true;
    }
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) continue;
    const size_t indent = line.find_first_not_of(' ');
    if (block_indent != std::string_view::npos && indent > block_indent) continue;
    block_indent = opens_block_scalar(line) ? indent : std::string_view::npos;
    if (line[first] != '#' && line.substr(0, first).find('\t') != std::string_view::npos) {
      problem = {number, "tab in the indentation, expected spaces"};
      return true;
    }
  }
  return false;
}

void parse(std::string_view text, Builder& builder, std::vector<YamlProblem>& problems) {
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    problems.push_back(stop.problem);
  } catch (const YAML::Exception& e) {
    problems.push_back({e.mark.is_null() ? 1 : line_of(e.mark), "not valid YAML: " + e.msg});
  }
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

YamlNode parse_yaml(std::string_view text, std::vector<YamlProblem>& problems) {
  if (text.size() > kMaxBytes) {
    problems.push_back({1, "file is too large: got " +
                               format_bytes(static_cast<double>(text.size())) +
                               ", expected at most 1 MiB"});
    return {};
  }
  YamlProblem bad;
  if (find_bad_text(text, bad)) {
    problems.push_back(bad);
    return {};
  }
  Builder builder(problems);
  parse(text, builder, problems);
  return builder.take();
}

}  // namespace hone::core
