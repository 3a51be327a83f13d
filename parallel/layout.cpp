#include "parallel/layout.h"

#include <array>
#include <optional>
#include <span>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

constexpr int64_t kMaxRanks = int64_t{1} << 24;

struct Axis {
  const char* name;
  int64_t Layout::*size;
};

// Slowest first.
constexpr std::array<Axis, 5> kAxes{{{"pp", &Layout::pp},
                                     {"dp_replicate", &Layout::dp_replicate},
                                     {"dp_shard", &Layout::dp_shard},
                                     {"cp", &Layout::cp},
                                     {"tp", &Layout::tp}}};

// What a recipe gives where the number of replicas is left to the number of ranks.
constexpr std::array<Axis, 4> kAxesButReplicate{{{"dp_shard", &Layout::dp_shard},
                                                 {"cp", &Layout::cp},
                                                 {"tp", &Layout::tp},
                                                 {"pp", &Layout::pp}}};

std::string sizes_text(const Layout& layout, std::span<const Axis> axes) {
  std::string text;
  for (const Axis& axis : axes) {
    if (!text.empty()) text += " x ";
    text += std::string(axis.name) + " " + std::to_string(layout.*axis.size);
  }
  return text;
}

std::string ranks_text(int64_t num_ranks) {
  return std::to_string(num_ranks) + (num_ranks == 1 ? " rank" : " ranks");
}

// nullopt, and what is wrong in `problems`, for sizes that are none or make too many ranks.
std::optional<int64_t> product_of(const Layout& layout, std::span<const Axis> axes,
                                  std::vector<std::string>& problems) {
  int64_t product = 1;
  for (const Axis& axis : axes) {
    const int64_t size = layout.*axis.size;
    if (size < 1 || size > kMaxRanks) {
      problems.push_back(std::string(axis.name) + ": got " + std::to_string(size) +
                         ", expected 1 to " + std::to_string(kMaxRanks));
    } else if (problems.empty()) {
      if (product > kMaxRanks / size) {
        problems.push_back(sizes_text(layout, axes) + ": more than " + std::to_string(kMaxRanks) +
                           " ranks");
      }
      product *= size;
    }
  }
  if (!problems.empty()) return std::nullopt;
  return product;
}

}  // namespace

FilledLayout fill_dp_replicate(const Layout& layout, int64_t num_ranks) {
  FilledLayout filled{.layout = layout, .problems = {}};
  const auto product = product_of(layout, kAxesButReplicate, filled.problems);
  if (!product) return filled;
  if (num_ranks % *product != 0) {
    filled.problems.push_back(sizes_text(layout, kAxesButReplicate) + " = " +
                              std::to_string(*product) + " does not divide the run's " +
                              ranks_text(num_ranks));
    return filled;
  }
  filled.layout.dp_replicate = num_ranks / *product;
  return filled;
}

std::vector<std::string> size_problems(const Layout& layout) {
  std::vector<std::string> problems;
  product_of(layout, kAxes, problems);
  return problems;
}

std::vector<std::string> layout_problems(const Layout& layout, int64_t num_ranks,
                                         int64_t num_stages) {
  std::vector<std::string> problems;
  const auto product = product_of(layout, kAxes, problems);
  if (product && *product != num_ranks) {
    problems.push_back(sizes_text(layout, kAxes) + " needs " + ranks_text(*product) +
                       ", the run has " + std::to_string(num_ranks));
  }
  if (layout.pp > num_stages) {
    problems.push_back("pp: got " + std::to_string(layout.pp) + ", expected at most the model's " +
                       std::to_string(num_stages) + " stages");
  }
  return problems;
}

void validate_layout(const Layout& layout, int64_t num_ranks, int64_t num_stages) {
  const auto problems = layout_problems(layout, num_ranks, num_stages);
  if (problems.empty()) return;
  std::string text = "the layout does not fit";
  for (const std::string& problem : problems) text += "\n  " + problem;
  fail(ErrorKind::kBadRecipe, {.what = text});
}

RankPosition rank_position(const Layout& layout, int64_t rank) {
  if (rank < 0 || rank >= layout.num_ranks()) {
    fail(ErrorKind::kInternal, {.what = "rank outside the layout",
                                .got = std::to_string(rank),
                                .expected = "0 to " + std::to_string(layout.num_ranks() - 1)});
  }
  RankPosition position;
  position.tensor = rank % layout.tp;
  rank /= layout.tp;
  position.context = rank % layout.cp;
  rank /= layout.cp;
  position.shard = rank % layout.dp_shard;
  rank /= layout.dp_shard;
  position.replicate = rank % layout.dp_replicate;
  position.pipeline = rank / layout.dp_replicate;
  return position;
}

int64_t rank_at(const Layout& layout, const RankPosition& p) {
  return (((p.pipeline * layout.dp_replicate + p.replicate) * layout.dp_shard + p.shard) *
              layout.cp +
          p.context) *
             layout.tp +
         p.tensor;
}

std::string describe_layout(const Layout& layout) {
  std::string text;
  for (const Axis& axis : kAxes) {
    if (layout.*axis.size == 1) continue;
    if (!text.empty()) text += " x ";
    text += std::string(axis.name) + " " + std::to_string(layout.*axis.size);
  }
  return text.empty() ? "1 rank" : text;
}

core::Json layout_to_json(const Layout& layout) {
  core::Json json = core::Json::object();
  for (const Axis& axis : kAxes) json[axis.name] = layout.*axis.size;
  return json;
}

Layout layout_from_json(const core::Json& json, const std::string& where) {
  Layout layout;
  for (const Axis& axis : kAxes) {
    const auto value = json.is_object() ? json.find(axis.name) : json.end();
    if (value == json.end() || !value->is_number_integer() || value->get<int64_t>() < 1) {
      fail(ErrorKind::kBadInput, {.what = std::string("layout has no valid '") + axis.name + "'",
                                  .where = where,
                                  .got = value == json.end() ? "nothing" : value->dump(),
                                  .expected = "a positive integer"});
    }
    layout.*axis.size = value->get<int64_t>();
  }
  return layout;
}

}  // namespace hone::parallel
