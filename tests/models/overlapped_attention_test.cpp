// Attention over the context axis in chunks of heads against all heads at once.
#include "models/overlapped_attention.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "kernels/autograd.h"
#include "kernels/ops.h"
#include "models/rope.h"
#include "parallel/comm/checked.h"
#include "parallel/comm/threads.h"
#include "parallel/comm/timed.h"

namespace hone::models {
namespace {

constexpr int64_t kDim = 8;
// Of relative norms: float32 sums in another order.
constexpr double kBound = 1e-6;

struct ChunkCase {
  int64_t num_ranks, num_heads, num_kv_heads, num_chunks;
  std::vector<int32_t> cu_doc_lens;
  bool has_norms = false;
  int64_t used_chunks = 0;
};

LocalHeads heads_of(const ChunkCase& c) {
  ModelSpec spec;
  spec.num_heads = c.num_heads;
  spec.num_kv_heads = c.num_kv_heads;
  spec.head_dim = kDim;
  return local_heads(spec, {}, c.num_ranks);
}

// Values between -1 and 1 that depend on the row in the micro-batch alone.
at::Tensor rows_of(int64_t first, int64_t count, int64_t columns, double stride) {
  const at::Tensor at_TC =
      at::arange(first * columns, (first + count) * columns, at::kDouble).view({count, columns});
  return (at_TC * stride).sin().to(at::kFloat);
}

kernels::Weight norm_weight(double stride) {
  return {rows_of(0, 1, kDim, stride).view(-1) + 1.5, at::zeros({kDim}, at::kFloat)};
}

struct Outcome {
  at::Tensor out_TC, grad_TC, q_norm_grad, k_norm_grad;
  std::vector<int64_t> chunk_heads;  // of the calls of attention, in order
};

// This rank's rows.
Outcome run(const Group& group, const ChunkCase& c, int64_t num_chunks) {
  at::set_num_threads(1);
  const int64_t tokens = c.cu_doc_lens.back();
  const std::vector<int64_t> parts = equal_parts(tokens, c.num_ranks);
  int64_t first = 0;
  for (int64_t rank = 0; rank < group->rank(); ++rank) first += parts[static_cast<size_t>(rank)];
  const int64_t own = parts[static_cast<size_t>(group->rank())];
  RopeSpec rope;
  rope.theta = 10000;
  const auto [cos_TN2, sin_TN2] = rope_tables(rope, kDim, at::arange(tokens));
  kernels::Weight q_norm, k_norm;
  if (c.has_norms) q_norm = norm_weight(0.7), k_norm = norm_weight(0.9);
  Outcome outcome;
  const auto attention = [&](const at::Tensor& own_TC, const HeadSplit& heads) {
    outcome.chunk_heads.push_back(heads.num_heads);
    return kernels::attention(own_TC, cos_TN2, sin_TN2, c.cu_doc_lens,
                              {.num_heads = heads.num_heads,
                               .num_kv_heads = heads.num_kv_heads,
                               .head_dim = kDim,
                               .scale = 0.4},
                              q_norm, k_norm, 1e-6);
  };
  const int64_t slots = c.num_heads + 2 * c.num_kv_heads;
  const at::Tensor qkv_TC = rows_of(first, own, slots * kDim, 0.13).requires_grad_();
  const HeadSplit split = split_heads(heads_of(c), c.num_ranks);
  outcome.out_TC = exchanged_attention(qkv_TC, split, parts, num_chunks, group, attention);
  outcome.out_TC.backward(rows_of(first, own, c.num_heads * kDim, 0.31));
  outcome.grad_TC = qkv_TC.grad();
  outcome.q_norm_grad = q_norm.grad;
  outcome.k_norm_grad = k_norm.grad;
  return outcome;
}

double apart(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a, b) ? 0 : ((a - b).norm() / b.norm()).item<double>();
}

void expect_same(const ChunkCase& c, const Outcome& chunked, const Outcome& whole) {
  EXPECT_EQ(static_cast<int64_t>(whole.chunk_heads.size()), 1);
  EXPECT_EQ(static_cast<int64_t>(chunked.chunk_heads.size()), c.used_chunks);
  EXPECT_TRUE(at::equal(chunked.out_TC, whole.out_TC));  // a head's output is of that head alone
  EXPECT_LT(apart(chunked.grad_TC, whole.grad_TC), kBound);
  if (!c.has_norms) return;
  EXPECT_LT(apart(chunked.q_norm_grad, whole.q_norm_grad), kBound);
  EXPECT_LT(apart(chunked.k_norm_grad, whole.k_norm_grad), kBound);
}

const std::vector<ChunkCase>& cases() {
  static const std::vector<ChunkCase> all{
      {2, 8, 4, 2, {0, 30}, false, 2},
      {2, 8, 8, 3, {0, 5, 6, 31}, true, 3},     // chunks of 2, 1, 1; ragged parts of the tokens
      {2, 12, 3, 2, {0, 11, 29}, true, 2},      // a group on two ranks, a head twice on each
      {4, 12, 3, 8, {0, 1, 22, 23}, false, 3},  // more chunks than heads, tokens that do not divide
      {3, 9, 9, 3, {0, 2}, false, 3},           // a rank without tokens
      {2, 8, 2, 4, {0, 17}, true, 1},           // one key/value head a rank: nothing to cut
  };
  return all;
}

TEST(OverlappedAttention, ChunksGiveTheOutputsAndGradientsOfAllHeadsAtOnce) {
  for (const ChunkCase& c : cases()) {
    SCOPED_TRACE(std::to_string(c.num_heads) + " heads on " + std::to_string(c.num_ranks));
    parallel::run_ranks(static_cast<int>(c.num_ranks), [&](parallel::Communicator& world) {
      const auto group = std::make_shared<parallel::Communicator>(world);
      expect_same(c, run(group, c, c.num_chunks), run(group, c, 1));
    });
  }
}

// Ranks that start what the others do not, or in another order, are an error there.
TEST(OverlappedAttention, RanksCallTheSameCollectivesInTheSameOrder) {
  for (const ChunkCase& c : cases()) {
    parallel::run_ranks(static_cast<int>(c.num_ranks), [&](parallel::Communicator& world) {
      const auto group = std::make_shared<parallel::Communicator>(parallel::checked(world));
      const Outcome outcome = run(group, c, c.num_chunks);
      EXPECT_TRUE(outcome.grad_TC.defined());
    });
  }
}

// What a row of metrics says of the axis.
TEST(OverlappedAttention, ChunksSendTheBytesOfAllHeadsAtOnceAndTheirWaitsCount) {
  for (const ChunkCase& c : cases()) {
    parallel::run_ranks(static_cast<int>(c.num_ranks), [&](parallel::Communicator& world) {
      const auto use_of = [&](int64_t num_chunks) {
        const auto use = std::make_shared<parallel::AxisUse>();
        run(std::make_shared<parallel::Communicator>(parallel::timed(world, use)), c, num_chunks);
        return *use;
      };
      const parallel::AxisUse chunked = use_of(c.num_chunks), whole = use_of(1);
      EXPECT_EQ(chunked.bytes, whole.bytes);
      EXPECT_GT(chunked.bytes, 0);
      EXPECT_GT(chunked.seconds, 0);
    });
  }
}

using Log = std::vector<std::string>;

class LoggedPending : public parallel::Pending {
 public:
  LoggedPending(std::shared_ptr<Pending> inner, Log& log, std::string number)
      : inner_(std::move(inner)), log_(log), number_(std::move(number)) {}
  bool test() override { return inner_->test(); }
  void wait() override {
    log_.push_back("wait " + number_);
    inner_->wait();
  }
  void abandon() noexcept override { inner_->abandon(); }

 private:
  std::shared_ptr<Pending> inner_;
  Log& log_;
  std::string number_;
};

// Says what is started and waited for, by number.
class LoggedBackend : public parallel::Backend {
 public:
  LoggedBackend(std::shared_ptr<Backend> inner, Log& log) : inner_(std::move(inner)), log_(log) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  std::shared_ptr<parallel::Pending> start(const parallel::Operation& operation) override {
    const std::string number = std::to_string(count_++);
    log_.push_back("start " + number);
    return std::make_shared<LoggedPending>(inner_->start(operation), log_, number);
  }
  std::shared_ptr<Backend> split(int color, int key) override { return inner_->split(color, key); }
  void abort(int code, const std::string& message) override { inner_->abort(code, message); }
  void finish() override { inner_->finish(); }

 private:
  std::shared_ptr<Backend> inner_;
  Log& log_;
  int count_ = 0;
};

// Writes its name when it runs, forward or backward.
struct Logged : torch::autograd::Function<Logged> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const std::shared_ptr<Log>& log, int64_t chunk) {
    kernels::save_state(ctx, std::pair(log, chunk));
    log->push_back("chunk " + std::to_string(chunk));
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto& [log, chunk] = kernels::saved_state<std::pair<std::shared_ptr<Log>, int64_t>>(ctx);
    log->push_back("backward of chunk " + std::to_string(chunk));
    return {grads[0].clone(), {}, {}};
  }
};

// While a chunk is computed, those that follow are on their way, and results of those before.
TEST(OverlappedAttention, AttentionOfAChunkRunsWhileOthersAreOnTheirWay) {
  const LocalHeads heads = heads_of({.num_ranks = 2, .num_heads = 4, .num_kv_heads = 4});
  parallel::run_ranks(2, [&](parallel::Communicator& world) {
    const auto log = std::make_shared<Log>();
    const auto group = std::make_shared<parallel::Communicator>(
        std::make_shared<LoggedBackend>(world.backend(), *log));
    int64_t next = 0;
    const auto attention = [&](const at::Tensor& own_TC, const HeadSplit& split) {
      return Logged::apply(own_TC, log, next++).narrow(1, 0, split.num_heads * kDim);
    };
    const at::Tensor qkv_TC = rows_of(0, 3, 12 * kDim, 0.1).requires_grad_();
    const at::Tensor out_TC =
        exchanged_attention(qkv_TC, split_heads(heads, 2), {3, 3}, 2, group, attention);
    EXPECT_EQ(*log, (Log{"start 0", "start 1", "wait 0", "chunk 0", "start 2", "wait 1", "chunk 1",
                         "start 3", "wait 2", "wait 3"}));
    log->clear();
    out_TC.sum().backward();
    EXPECT_EQ(*log, (Log{"start 4", "start 5", "wait 4", "backward of chunk 1", "start 6", "wait 5",
                         "backward of chunk 0", "start 7", "wait 7", "wait 6"}));
  });
}

}  // namespace
}  // namespace hone::models
