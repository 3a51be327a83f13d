#include "recipes/eval_split.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/rng.h"
#include "data/token_cache.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

int64_t num_held_out(double amount, int64_t num_rows) {
  const double wanted =
      amount < 1 ? std::max(1.0, std::round(amount * static_cast<double>(num_rows))) : amount;
  if (wanted >= static_cast<double>(num_rows)) {
    core::fail(core::ErrorKind::kBadRecipe,
               {.what = "eval_split leaves no row to train on",
                .got = std::to_string(static_cast<int64_t>(wanted)) + " held out of " +
                       std::to_string(num_rows) + " rows"});
  }
  return static_cast<int64_t>(wanted);
}

}  // namespace

data::TokenCache select_rows(const data::TokenCache& whole, const std::vector<bool>& chosen,
                             const std::string& name, const fs::path& cache_root) {
  const std::string key = core::sha256_hex(whole.key() + name);
  const fs::path folder = cache_root / key.substr(0, 32);
  if (fs::exists(folder / "meta.json")) return data::TokenCache::open(folder);
  data::TokenCacheWriter writer(folder, key);
  std::vector<data::DatasetTotals> totals(static_cast<size_t>(whole.num_sources()));
  for (int64_t i = 0; i < whole.num_rows(); ++i) {
    if (!chosen[static_cast<size_t>(i)]) continue;
    const data::TokenRow row = whole.row(i);
    writer.append({{row.ids.begin(), row.ids.end()}, {row.trained.begin(), row.trained.end()}});
    data::DatasetTotals& source = totals[static_cast<size_t>(whole.source_of(i))];
    ++source.num_rows;
    source.num_tokens += whole.num_row_tokens(i);
    source.num_trained_tokens += whole.num_row_trained(i);
    source.num_untrained_rows += whole.num_row_trained(i) == 0;
  }
  writer.finish(totals);
  return data::TokenCache::open(folder);
}

SplitCaches split_cache(const data::TokenCache& whole, double amount, uint64_t seed,
                        const fs::path& cache_root) {
  const int64_t num_rows = whole.num_rows(), count = num_held_out(amount, num_rows);
  constexpr uint32_t kStream = 0xE7A1;  // apart from the streams of the epochs' orders
  std::vector<bool> held_out(static_cast<size_t>(num_rows));
  for (int64_t i = 0; i < count; ++i) {
    held_out[core::random_permutation(seed, core::RngSite::kDataOrder, kStream,
                                      static_cast<uint64_t>(num_rows), static_cast<uint64_t>(i))] =
        true;
  }
  const std::string name = ":" + std::to_string(count) + ":" + std::to_string(seed) + ":";
  data::TokenCache eval = select_rows(whole, held_out, name + "eval", cache_root);
  held_out.flip();
  return {select_rows(whole, held_out, name + "train", cache_root), std::move(eval)};
}

}  // namespace hone::recipes
