// The head's loss with its vocabulary over ranks (here threads) against the whole on one.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

#include "core/error.h"
#include "kernels/reference.h"
#include "tests/kernels/oracle.h"

namespace hone::kernels {
namespace {

// What the ranks of a run share.
struct Gathering {
  explicit Gathering(int64_t ranks) : parts(static_cast<size_t>(ranks)), barrier(ranks) {}
  std::vector<at::Tensor> parts;
  std::barrier<> barrier;
  std::atomic<int64_t> num_calls = 0, num_elements = 0;

  at::Tensor gather(int64_t rank, const at::Tensor& mine) {
    parts[static_cast<size_t>(rank)] = mine;
    barrier.arrive_and_wait();
    const at::Tensor all = at::stack(parts);
    barrier.arrive_and_wait();
    ++num_calls;
    num_elements += mine.numel();
    return all;
  }
};

struct Case {
  at::Tensor x_TD, labels_T;
  Weight w_VD;
  std::vector<Lora> loras;
  double scale = 1.0 / 43;
};

struct RankResult {
  HeadLoss loss;
  Weight w;
  std::vector<Lora> loras;
};

Weight rows_of(const Weight& whole, int64_t begin, int64_t end) {
  return oracle::weight(whole.value.narrow(0, begin, end - begin).clone(), whole.trainable());
}

// `cuts`: where the parts of the ranks begin, and the end of the last.
std::vector<RankResult> run_shards(const Case& given, const std::vector<int64_t>& cuts,
                                   Gathering& gathering, bool want_grad = true) {
  const auto ranks = static_cast<int64_t>(cuts.size()) - 1;
  std::vector<RankResult> results(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto at = static_cast<size_t>(rank);
      RankResult& mine = results[at];
      mine.w = rows_of(given.w_VD, cuts[at], cuts[at + 1]);
      for (Lora lora : given.loras) {
        lora.a_RD = oracle::weight(lora.a_RD.value, lora.a_RD.trainable());
        lora.b_OR = rows_of(lora.b_OR, cuts[at], cuts[at + 1]);
        mine.loras.push_back(lora);
      }
      const VocabShard shard{
          .begin = cuts[at],
          .whole = cuts.back(),
          .num_ranks = ranks,
          .all_gather = [&](const at::Tensor& pairs) { return gathering.gather(rank, pairs); }};
      mine.loss =
          head_loss(given.x_TD, mine.w, given.labels_T, given.scale, want_grad, mine.loras, &shard);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::vector<RankResult> run_shards(const Case& given, const std::vector<int64_t>& cuts) {
  Gathering gathering(static_cast<int64_t>(cuts.size()) - 1);
  return run_shards(given, cuts, gathering);
}

Case make_case(at::ScalarType type, int64_t vocab, bool with_lora) {
  Case made;
  made.x_TD = oracle::rand({50, 60}, 1).to(type);
  made.labels_T = (at::arange(50, at::kLong) * 37).remainder(vocab);
  made.labels_T.narrow(0, 10, 7).fill_(-100);
  made.w_VD = oracle::weight((0.2 * oracle::rand({vocab, 60}, 3)).to(type));
  if (!with_lora) return made;
  Lora lora;
  lora.a_RD = oracle::weight((0.3 * oracle::rand({4, 60}, 7)).to(type));
  lora.b_OR = oracle::weight((0.1 * oracle::rand({vocab, 4}, 8)).to(type));
  lora.scale = 2.0;
  made.loras.push_back(lora);
  return made;
}

Case as_double(const Case& given) {
  Case exact = given;
  exact.x_TD = given.x_TD.to(at::kDouble);
  exact.w_VD = oracle::as_double(given.w_VD);
  exact.loras.clear();
  for (const Lora& lora : given.loras) exact.loras.push_back(oracle::as_double(lora));
  return exact;
}

template <typename Of>
at::Tensor sum_over(const std::vector<RankResult>& results, const Of& of) {
  at::Tensor sum = of(results[0]).to(at::kDouble).clone();
  for (size_t rank = 1; rank < results.size(); ++rank) sum += of(results[rank]).to(at::kDouble);
  return sum;
}

template <typename Of>
at::Tensor joined(const std::vector<RankResult>& results, const Of& of) {
  std::vector<at::Tensor> parts;
  for (const RankResult& result : results) parts.push_back(of(result).to(at::kDouble));
  return at::cat(parts);
}

void expect_same_losses(const std::vector<RankResult>& results) {
  for (const RankResult& result : results) {
    EXPECT_EQ(result.loss.losses, results[0].loss.losses);
    EXPECT_EQ(result.loss.loss_sum, results[0].loss.loss_sum);
  }
}

void check(const Case& given, const std::vector<int64_t>& cuts, double bound) {
  const Case exact = as_double(given);
  const HeadLoss whole =
      reference::head_loss(exact.x_TD, exact.w_VD, exact.labels_T, exact.scale, true, exact.loras);
  const std::vector<RankResult> results = run_shards(given, cuts);
  expect_same_losses(results);
  const HeadLoss& first = results[0].loss;
  ASSERT_EQ(first.losses.size(), whole.losses.size());
  EXPECT_NEAR(first.loss_sum / whole.loss_sum, 1.0, bound);
  for (size_t i = 0; i < whole.losses.size(); ++i) {
    EXPECT_NEAR(first.losses[i], whole.losses[i], bound * std::max(1.0, whole.losses[i])) << i;
  }
  const at::Tensor dx = sum_over(results, [](const auto& r) { return r.loss.grad_x_TD; });
  EXPECT_LT(oracle::distance(dx, whole.grad_x_TD), bound);
  EXPECT_EQ(dx.narrow(0, 10, 7).abs().sum().item<double>(), 0.0);
  EXPECT_LT(
      oracle::distance(joined(results, [](const auto& r) { return r.w.grad; }), exact.w_VD.grad),
      bound);
  for (size_t i = 0; i < given.loras.size(); ++i) {
    const at::Tensor a = sum_over(results, [&](const auto& r) { return r.loras[i].a_RD.grad; });
    const at::Tensor b = joined(results, [&](const auto& r) { return r.loras[i].b_OR.grad; });
    EXPECT_LT(oracle::distance(a, exact.loras[i].a_RD.grad), bound);
    EXPECT_LT(oracle::distance(b, exact.loras[i].b_OR.grad), bound);
  }
}

const std::vector<std::vector<int64_t>> kCuts{
    {0, 1003}, {0, 500, 1003}, {0, 3, 1003}, {0, 400, 800, 1003}, {0, 1003, 1003}};

TEST(HeadShard, Float32LossesAndGradientsAreThoseOfTheWhole) {
  for (const auto& cuts : kCuts) check(make_case(at::kFloat, 1003, false), cuts, 2e-6);
}

TEST(HeadShard, Bfloat16LossesAndGradientsAreThoseOfTheWhole) {
  for (const auto& cuts : kCuts) check(make_case(at::kBFloat16, 1003, false), cuts, 2e-2);
}

TEST(HeadShard, Float64OnTheReferencePathIsTheWhole) {
  for (const auto& cuts : kCuts) check(as_double(make_case(at::kFloat, 1003, true)), cuts, 1e-12);
}

TEST(HeadShard, AdapterRowsOfTheShardGetTheirGradients) {
  for (const auto& cuts : kCuts) check(make_case(at::kFloat, 1003, true), cuts, 2e-6);
}

TEST(HeadShard, LargeLogitsNeitherOverflowNorVanish) {
  Case given = make_case(at::kFloat, 64, false);
  // Logits of some hundreds: the ranks' highest are far apart. Products in float32 are off by 1e-4.
  given.w_VD.value.mul_(100);
  check(given, {0, 20, 64}, 1e-3);
}

TEST(HeadShard, AnUnevenVocabularyHasTheSameChunksOnEveryRank) {
  const int64_t vocab = 150001;  // 699 rows a chunk; by the parts it would be 374 and 5242
  Case given;
  given.x_TD = oracle::rand({710, 4}, 1);
  given.labels_T = at::arange(710, at::kLong) * 211;
  given.w_VD = oracle::weight(oracle::rand({vocab, 4}, 2));
  Gathering gathering(2);
  const std::vector<RankResult> results = run_shards(given, {0, 140000, vocab}, gathering, false);
  expect_same_losses(results);
  EXPECT_EQ(gathering.num_calls, 2 * 2);
  EXPECT_EQ(gathering.num_elements, 2 * 710 * 2);  // two numbers a row and rank, no logits
  const HeadLoss whole = head_loss(given.x_TD, given.w_VD, given.labels_T, 1.0, false);
  EXPECT_NEAR(results[0].loss.loss_sum / whole.loss_sum, 1.0, 1e-6);
}

TEST(HeadShard, NoTrainedTokenIsZeroAndTalksToNobody) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    Case given = make_case(at::kFloat, 64, false);
    given.x_TD = given.x_TD.to(type);
    given.w_VD = oracle::weight(given.w_VD.value.to(type));
    given.labels_T.fill_(-100);
    Gathering gathering(2);
    for (const RankResult& result : run_shards(given, {0, 20, 64}, gathering)) {
      EXPECT_EQ(result.loss.loss_sum, 0.0);
      EXPECT_TRUE(result.loss.losses.empty());
      EXPECT_EQ(result.loss.grad_x_TD.sizes(), given.x_TD.sizes());
      EXPECT_EQ(result.loss.grad_x_TD.abs().sum().item<double>(), 0.0);
      EXPECT_EQ(result.w.grad.abs().sum().item<double>(), 0.0);
    }
    EXPECT_EQ(gathering.num_calls, 0);
  }
}

TEST(HeadShard, ANonFiniteLogitOfOneRankIsALossThatIsNotFiniteOnAll) {
  Case given = make_case(at::kFloat, 64, false);
  given.w_VD.value[50][3] = NAN;
  for (const RankResult& result : run_shards(given, {0, 20, 64})) {
    EXPECT_FALSE(std::isfinite(result.loss.loss_sum));
  }
}

TEST(HeadShard, ALabelOutsideTheWholeVocabularyIsRefusedBeforeAnythingIsSent) {
  Case given = make_case(at::kFloat, 64, false);
  const Weight part = rows_of(given.w_VD, 0, 20);
  Gathering gathering(1);
  const VocabShard shard{
      .begin = 0, .whole = 64, .num_ranks = 2, .all_gather = [&](const at::Tensor& pairs) {
        return gathering.gather(0, pairs);
      }};
  given.labels_T[3] = 64;
  EXPECT_THROW(head_loss(given.x_TD, part, given.labels_T, 1.0, false, {}, &shard), core::Error);
  EXPECT_EQ(gathering.num_calls, 0);
}

}  // namespace
}  // namespace hone::kernels
