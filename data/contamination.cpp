#include "data/contamination.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <unordered_map>

namespace hone::data {
namespace {

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // odd, so powers of it never vanish

uint64_t mix(uint64_t x) {
  x ^= x >> 31;
  x *= 0xBF58476D1CE4E5B9;
  return x ^ (x >> 29);
}

uint64_t token_value(int32_t id) {
  return mix(static_cast<uint64_t>(static_cast<uint32_t>(id)) + 1);
}

// Polynomial hash of the last 13 tokens, moved on by one token at a time.
class RollingHash {
 public:
  // `leaving` is the token 13 before `entering`; only read once 13 tokens have entered.
  void push(int32_t entering, int32_t leaving) {
    if (count_ >= kContaminationTokens) hash_ -= token_value(leaving) * oldest_power();
    hash_ = hash_ * kMultiplier + token_value(entering);
    ++count_;
  }
  bool full() const { return count_ >= kContaminationTokens; }
  uint64_t value() const { return mix(hash_); }
  void clear() { hash_ = 0, count_ = 0; }

 private:
  static constexpr uint64_t oldest_power() {
    uint64_t power = 1;
    for (int64_t i = 1; i < kContaminationTokens; ++i) power *= kMultiplier;
    return power;
  }
  uint64_t hash_ = 0;
  int64_t count_ = 0;
};

uint64_t row_hash(const TokenRow& row) {
  uint64_t hash = row.ids.size();
  for (size_t i = 0; i < row.ids.size(); ++i) {
    hash = mix(hash * kMultiplier + token_value(row.ids[i]));
  }
  return hash;
}

// Calls `found(end, hash)` for every run of 13 tokens that ends before `end`.
template <typename Found>
void each_run(const TokenRow& row, bool trained_only, const Found& found) {
  constexpr auto kTokens = static_cast<size_t>(kContaminationTokens);
  RollingHash hash;
  for (size_t i = 0; i < row.ids.size(); ++i) {
    if (trained_only && !row.trained[i]) {
      hash.clear();
      continue;
    }
    hash.push(row.ids[i], i >= kTokens ? row.ids[i - kTokens] : 0);
    if (hash.full()) found(i + 1, hash.value());
  }
}

// The runs and rows of the evaluation data, and which of them were met in the training data.
class EvalIndex {
 public:
  explicit EvalIndex(const TokenCache& eval) : eval_(eval) {
    for (int64_t row = 0; row < eval.num_rows(); ++row) {
      const TokenRow tokens = eval.row(row);
      rows_[row_hash(tokens)].push_back(row);
      each_run(tokens, true, [&](size_t, uint64_t hash) { hashes_.push_back(hash); });
    }
    std::ranges::sort(hashes_);
    hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
    met_ = std::make_unique<std::atomic<uint8_t>[]>(hashes_.size());
    identical_ = std::make_unique<std::atomic<uint8_t>[]>(static_cast<size_t>(eval.num_rows()));
    filter_.resize(kFilterWords);
    for (const uint64_t hash : hashes_) {
      filter_[hash >> kFilterShift] |= uint64_t{1} << (hash & 63);
    }
  }

  // Any thread may.
  void look_at(const TokenRow& train) {
    each_run(train, false, [&](size_t, uint64_t hash) {
      if ((filter_[hash >> kFilterShift] >> (hash & 63) & 1) == 0) return;
      const auto it = std::ranges::lower_bound(hashes_, hash);
      if (it != hashes_.end() && *it == hash) met_[place(it)] = 1;
    });
    const auto same = rows_.find(row_hash(train));
    if (same == rows_.end()) return;
    for (const int64_t row : same->second) {
      if (std::ranges::equal(eval_.row(row).ids, train.ids))
        identical_[static_cast<size_t>(row)] = 1;
    }
  }

  Contamination result() const {
    Contamination result{.num_eval_rows = eval_.num_rows()};
    for (int64_t row = 0; row < eval_.num_rows(); ++row) {
      const bool same = identical_[static_cast<size_t>(row)] != 0;
      if (!same && !mostly_copied(eval_.row(row))) continue;
      ++(same ? result.num_identical : result.num_overlapping);
      result.rows.push_back(row);
    }
    return result;
  }

 private:
  // 2^20 words of 64 bits: by far most runs of the training data end here.
  static constexpr size_t kFilterWords = size_t{1} << 20;
  static constexpr int kFilterShift = 44;

  size_t place(std::vector<uint64_t>::const_iterator it) const {
    return static_cast<size_t>(it - hashes_.begin());
  }

  bool mostly_copied(const TokenRow& row) const {
    constexpr auto kTokens = static_cast<size_t>(kContaminationTokens);
    size_t num_copied = 0, copied_end = 0;
    each_run(row, true, [&](size_t end, uint64_t hash) {
      if (met_[place(std::ranges::lower_bound(hashes_, hash))] == 0) return;
      num_copied += end - std::max(copied_end, end - kTokens);
      copied_end = end;
    });
    const auto num_trained = std::ranges::count_if(row.trained, [](uint8_t t) { return t != 0; });
    return num_copied > 0 && 2 * num_copied >= static_cast<size_t>(num_trained);
  }

  const TokenCache& eval_;
  std::unordered_map<uint64_t, std::vector<int64_t>> rows_;
  std::vector<uint64_t> hashes_;  // sorted
  std::vector<uint64_t> filter_;
  std::unique_ptr<std::atomic<uint8_t>[]> met_, identical_;
};

}  // namespace

Contamination find_contamination(const TokenCache& train, const TokenCache& eval) {
  constexpr int64_t kRowsAtOnce = 256;
  EvalIndex index(eval);
  std::atomic<int64_t> next = 0;
  {
    std::vector<std::jthread> workers;
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    for (unsigned w = 0; w < cores; ++w) {
      workers.emplace_back([&] {
        for (int64_t begin; (begin = next.fetch_add(kRowsAtOnce)) < train.num_rows();) {
          const int64_t end = std::min(begin + kRowsAtOnce, train.num_rows());
          for (int64_t row = begin; row < end; ++row) index.look_at(train.row(row));
        }
      });
    }
  }
  return index.result();
}

}  // namespace hone::data
