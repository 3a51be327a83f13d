#include "parallel/comm/check_exchange.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

static_assert(std::is_trivially_copyable_v<Signature> && sizeof(Signature) == 256);
constexpr int kSignatureTag = 0, kSeenTag = 1;

std::shared_ptr<Pending> start(Backend& control, OpKind kind, const void* data, size_t size,
                               int peer, int tag) {
  Operation operation{.kind = kind, .count = static_cast<int64_t>(size), .peer = peer, .tag = tag};
  auto* bytes = const_cast<std::byte*>(static_cast<const std::byte*>(data));
  if (kind == OpKind::kSend) operation.input = bytes;
  if (kind == OpKind::kRecv) operation.output = bytes;
  return control.start(operation);
}

std::string list(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += (text.empty() ? "" : " ") + std::to_string(rank);
  return (ranks.size() == 1 ? "rank " : "ranks ") + text;
}

// Tests each and forgets those that are done.
bool all_done(std::vector<std::shared_ptr<Pending>>& pendings) {
  bool all = true;
  for (auto& pending : pendings) {
    if (pending && pending->test()) pending.reset();
    all = all && !pending;
  }
  return all;
}

}  // namespace

uint64_t mix_hash(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
  return hash ^ (hash >> 29);
}

Signature make_signature(const Operation& operation, const std::string& name, uint64_t group,
                         int64_t call, const std::vector<int>& members) {
  Signature signature{.group = group, .call = call};
  uint64_t key = 1;
  for (const char c : name) key = mix_hash(key, static_cast<unsigned char>(c));
  key = mix_hash(key, static_cast<uint64_t>(operation.kind));
  key = mix_hash(key, static_cast<uint64_t>(operation.dtype));
  key = mix_hash(key, static_cast<uint64_t>(operation.reduce));
  key = mix_hash(key, operation.ordered ? 1 : 0);
  key = mix_hash(key, static_cast<uint64_t>(operation.peer));
  key = mix_hash(key, static_cast<uint64_t>(operation.count));
  for (const int64_t count : operation.counts) key = mix_hash(key, static_cast<uint64_t>(count));
  signature.call_key = key;
  const std::string text = name + " (call " + std::to_string(call) + " of " + list(members) + ")";
  std::strncpy(signature.text, text.c_str(), sizeof(signature.text) - 1);
  return signature;
}

SignatureExchange::SignatureExchange(std::shared_ptr<Backend> control, std::vector<int> members,
                                     const Signature& mine, std::chrono::milliseconds timeout)
    : control_(std::move(control)),
      members_(std::move(members)),
      mine_(mine),
      timeout_(timeout),
      grace_(std::min(timeout, std::chrono::milliseconds(5000))),
      theirs_(members_.size()),
      receives_(members_.size()) {
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i] == control_->rank()) {
      theirs_[i] = mine_;
      continue;
    }
    receives_[i] =
        start(*control_, OpKind::kRecv, &theirs_[i], sizeof(Signature), members_[i], kSignatureTag);
    sends_.push_back(
        start(*control_, OpKind::kSend, &mine_, sizeof(Signature), members_[i], kSignatureTag));
  }
}

bool SignatureExchange::differs(size_t i) const {
  const Signature& other = theirs_[i];
  return !receives_[i] && (other.group != mine_.group || other.call != mine_.call ||
                           other.call_key != mine_.call_key);
}

bool SignatureExchange::test() {
  const bool all = all_done(receives_);
  bool different = false;
  for (size_t i = 0; i < members_.size(); ++i) different = different || differs(i);
  if (different) {
    if (!first_difference_) first_difference_ = Clock::now();
    if (all || Clock::now() > *first_difference_ + grace_) raise();
    return false;
  }
  return all && all_done(sends_);
}

// Nobody leaves before all have seen the difference, or a moment has passed. Ranks of another group
// are told too, and heard: they are in a collective that this rank keeps waiting.
void SignatureExchange::tell_the_others(Clock::time_point end) noexcept {
  try {
    bool other_group = false;
    for (size_t i = 0; i < members_.size(); ++i) {
      other_group = other_group || (!receives_[i] && theirs_[i].group != mine_.group);
    }
    char seen = 1;
    const auto ranks = static_cast<size_t>(control_->size());
    std::vector<char> seen_by(ranks);
    std::vector<Signature> from_outside(ranks);
    std::vector<std::shared_ptr<Pending>> pendings = std::move(sends_);
    for (size_t r = 0; r < ranks; ++r) {
      const int rank = static_cast<int>(r);
      const bool member = std::find(members_.begin(), members_.end(), rank) != members_.end();
      if (rank == control_->rank() || (!member && !other_group)) continue;
      const auto exchange = [&](const void* out, void* in, size_t size, int tag) {
        pendings.push_back(start(*control_, OpKind::kSend, out, size, rank, tag));
        pendings.push_back(start(*control_, OpKind::kRecv, in, size, rank, tag));
      };
      if (!member) exchange(&mine_, &from_outside[r], sizeof(Signature), kSignatureTag);
      exchange(&seen, &seen_by[r], 1, kSeenTag);
    }
    while (!all_done(pendings) && Clock::now() < end) std::this_thread::yield();
    for (const auto& pending : pendings) {
      if (pending) pending->abandon();
    }
  } catch (...) {  // a rank has left: it knows
  }
}

void SignatureExchange::raise() {
  tell_the_others(Clock::now() + grace_);
  const std::string found = calls();
  abandon();
  fail(ErrorKind::kInternal, {.what = "ranks call different collectives: " + found});
}

void SignatureExchange::time_out() {
  std::vector<int> missing;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (receives_[i]) missing.push_back(members_[i]);
  }
  abandon();
  fail(ErrorKind::kPeerLost,
       {.what = missing.empty()
                    ? "some rank has seen no call of this one"
                    : list(missing) + (missing.size() == 1 ? " has" : " have") + " called nothing",
        .where = mine_.text,
        .hint = "waited " + std::to_string(timeout_.count()) + " ms"});
}

std::string SignatureExchange::calls() const {
  std::vector<std::pair<std::string, std::vector<int>>> by_text;
  for (size_t i = 0; i < members_.size(); ++i) {
    const std::string text = receives_[i] ? "nothing yet" : theirs_[i].text;
    auto at = std::find_if(by_text.begin(), by_text.end(),
                           [&](const auto& entry) { return entry.first == text; });
    if (at == by_text.end()) at = by_text.insert(by_text.end(), {text, {}});
    at->second.push_back(members_[i]);
  }
  std::string text;
  for (const auto& [call, ranks] : by_text) {
    text += (text.empty() ? "" : "; ") + list(ranks) + ": " + call;
  }
  return text;
}

void SignatureExchange::abandon() noexcept {
  for (auto* pendings : {&receives_, &sends_}) {
    for (auto& pending : *pendings) {
      if (pending) pending->abandon();
    }
  }
  sends_.clear();
}

}  // namespace hone::parallel
