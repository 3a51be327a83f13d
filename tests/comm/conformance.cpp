#include "tests/comm/conformance.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/error.h"
#include "parallel/comm/combine.h"
#include "tests/comm/values.h"

namespace hone::test {
namespace {

using namespace parallel;  // NOLINT

// 0, 1, odd, a power of two, and one of several blocks that no power of two divides.
const std::vector<int64_t> kSizes = {0, 1, 7, 256, 5003};
// Many slices and pieces: 12 MB of float32.
constexpr int64_t kHuge = 3000017;

// Over NCCL there are none of these (nccl.h).
bool has_ordered(const Communicator& comm) { return comm.backend_name() != "nccl"; }
int tag(const Communicator& comm, int wanted) { return comm.backend_name() == "nccl" ? 0 : wanted; }

void all_reduce_equals_the_local_tree(Communicator& comm) {
  for (const DType dtype : kDTypes) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      for (const int64_t count : kSizes) {
        const Buffer mine = values(dtype, count, comm.rank());
        const Buffer want = reduced(dtype, op, count, comm.size());
        Buffer out(mine.size());
        comm.all_reduce(mine.data(), out.data(), count, dtype, op);
        same(out, want, "all_reduce", dtype, count);
        Buffer in_place = mine;
        comm.all_reduce(in_place.data(), in_place.data(), count, dtype, op);
        same(in_place, want, "all_reduce in place", dtype, count);
        if (!has_ordered(comm)) continue;
        in_place = mine;
        comm.all_reduce_ordered(in_place.data(), in_place.data(), count, dtype, op);
        same(in_place, want, "all_reduce_ordered in place", dtype, count);
      }
    }
  }
}

// Small whole numbers, whose sum is exact: the size is what is tested here.
void large_buffers_are_reduced_gathered_and_sent(Communicator& comm) {
  const auto size = static_cast<float>(comm.size());
  std::vector<float> data(kHuge);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i % 1021);
  comm.all_reduce(data.data(), data.data(), kHuge, DType::kFloat32);
  bool right = true;
  for (size_t i = 0; i < data.size(); ++i) {
    right = right && data[i] == static_cast<float>(i % 1021) * size;
  }
  expect(right, "all_reduce of 12 MB");

  std::vector<float> all(data.size() * static_cast<size_t>(comm.size()));
  data[kHuge - 1] = static_cast<float>(comm.rank());
  comm.all_gather(data.data(), all.data(), kHuge, DType::kFloat32);
  for (size_t r = 0; r < static_cast<size_t>(comm.size()); ++r) {
    expect(all[(r + 1) * kHuge - 1] == static_cast<float>(r), "all_gather of 12 MB each");
    expect(all[r * kHuge + 1020] == 1020 * size, "all_gather of 12 MB each");
  }
  if (comm.size() == 1) return;
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  Request receive = comm.start_recv(all.data(), kHuge, DType::kFloat32, before);
  comm.send(data.data(), kHuge, DType::kFloat32, next);
  receive.wait();
  expect(all[kHuge - 1] == static_cast<float>(before), "a message of 12 MB");
}

// Parts of one size, and of different ones, of every type.
template <typename Check>
void for_parts(const Communicator& comm, const Check& check) {
  for (const DType dtype : kDTypes) {
    for (const int64_t base : {0, 1, 77, 3001}) {
      check(dtype, base, std::vector<int64_t>(static_cast<size_t>(comm.size()), base), true);
      check(dtype, base, ragged(comm.size(), base), false);
    }
  }
}

void reduce_scatter_gives_each_its_part(Communicator& comm) {
  const auto rank = static_cast<size_t>(comm.rank());
  for_parts(comm, [&](DType dtype, int64_t base, const std::vector<int64_t>& counts, bool equal) {
    const int64_t all = total(counts);
    const Operation parts{.dtype = dtype, .counts = counts};
    const auto begin = static_cast<size_t>(part_offset(parts, comm.rank()));
    const size_t bytes = static_cast<size_t>(counts[rank]) * dtype_size(dtype);
    const Buffer mine = values(dtype, all, comm.rank());
    const Buffer want = part(reduced(dtype, ReduceOp::kSum, all, comm.size()), begin, bytes);
    Buffer out(bytes);
    comm.reduce_scatter(mine.data(), out.data(), counts, dtype);
    same(out, want, "reduce_scatter", dtype, all);
    if (has_ordered(comm)) {
      comm.reduce_scatter_ordered(mine.data(), out.data(), counts, dtype);
      same(out, want, "reduce_scatter_ordered", dtype, all);
    }
    Buffer in_place = mine;
    comm.reduce_scatter(in_place.data(), in_place.data() + begin, counts, dtype);
    same(part(in_place, begin, bytes), want, "reduce_scatter in place", dtype, all);
    if (equal) {
      comm.reduce_scatter(mine.data(), out.data(), base, dtype);
      same(out, want, "reduce_scatter of equal parts", dtype, all);
    }
  });
}

void all_gather_puts_the_parts_in_order(Communicator& comm) {
  const auto rank = static_cast<size_t>(comm.rank());
  for_parts(comm, [&](DType dtype, int64_t base, const std::vector<int64_t>& counts, bool equal) {
    Buffer want;
    for (int r = 0; r < comm.size(); ++r) {
      const Buffer theirs = values(dtype, counts[static_cast<size_t>(r)], r);
      want.insert(want.end(), theirs.begin(), theirs.end());
    }
    const Buffer mine = values(dtype, counts[rank], comm.rank());
    Buffer out(want.size());
    comm.all_gather(mine.data(), out.data(), counts, dtype);
    same(out, want, "all_gather", dtype, base);
    Buffer in_place(want.size());
    const Operation parts{.dtype = dtype, .counts = counts};
    std::byte* place = in_place.data() + part_offset(parts, comm.rank());
    if (!mine.empty()) std::memcpy(place, mine.data(), mine.size());
    comm.all_gather(place, in_place.data(), counts, dtype);
    same(in_place, want, "all_gather in place", dtype, base);
    if (equal) {
      comm.all_gather(mine.data(), out.data(), base, dtype);
      same(out, want, "all_gather of equal parts", dtype, base);
    }
  });
}

void broadcast_and_all_to_all_move_what_they_should(Communicator& comm) {
  for (const DType dtype : kDTypes) {
    for (const int64_t count : kSizes) {
      for (int root = 0; root < comm.size(); ++root) {
        Buffer data = values(dtype, count, comm.rank());
        comm.broadcast(data.data(), count, dtype, root);
        same(data, values(dtype, count, root), "broadcast", dtype, count);
      }
      Buffer input, want;
      for (int r = 0; r < comm.size(); ++r) {
        const Buffer to = values(dtype, count, comm.rank() * 10 + r);
        const Buffer from = values(dtype, count, r * 10 + comm.rank());
        input.insert(input.end(), to.begin(), to.end());
        want.insert(want.end(), from.begin(), from.end());
      }
      Buffer out(input.size());
      comm.all_to_all(input.data(), out.data(), count, dtype);
      same(out, want, "all_to_all", dtype, count);
    }
  }
}

// Around a ring, two tags at once and taken in the other order.
void messages_arrive_by_tag_and_in_order(Communicator& comm) {
  if (comm.size() == 1) return;
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  for (const int64_t count : kSizes) {
    std::vector<Buffer> out, in;
    std::vector<Request> requests;
    for (int m = 0; m < 4; ++m) {
      out.push_back(values(DType::kInt32, count, 100 * comm.rank() + m));
      in.emplace_back(out.back().size());
    }
    const bool tags = tag(comm, 1) == 1;
    for (const size_t m :
         tags ? std::array<size_t, 4>{2, 0, 3, 1} : std::array<size_t, 4>{0, 1, 2, 3}) {
      requests.push_back(comm.start_recv(in[m].data(), count, DType::kInt32, before,
                                         tag(comm, static_cast<int>(m) / 2)));
    }
    for (const size_t m :
         tags ? std::array<size_t, 4>{0, 2, 1, 3} : std::array<size_t, 4>{0, 1, 2, 3}) {
      requests.push_back(comm.start_send(out[m].data(), count, DType::kInt32, next,
                                         tag(comm, static_cast<int>(m) / 2)));
    }
    for (Request& request : requests) request.wait();
    for (int m = 0; m < 4; ++m) {
      same(in[static_cast<size_t>(m)], values(DType::kInt32, count, 100 * before + m), "recv",
           DType::kInt32, count);
    }
  }
  float token = 0;
  if (comm.rank() == 0) {
    comm.send(&token, 1, DType::kFloat32, next);
    comm.recv(&token, 1, DType::kFloat32, before);
    expect(token == static_cast<float>(comm.size() - 1), "a token passed around counts the ranks");
  } else {
    comm.recv(&token, 1, DType::kFloat32, before);
    token += 1;
    comm.send(&token, 1, DType::kFloat32, next);
  }
}

// They come in while those that wait for them are looked at one after the other.
void messages_of_one_tag_keep_their_order_while_many_are_waited_for(Communicator& comm) {
  if (comm.size() == 1) return;
  constexpr int32_t kMany = 64, kRounds = 20;
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  for (int32_t round = 0; round < kRounds; ++round) {
    std::vector<int32_t> out(kMany), in(kMany, -1);
    std::vector<Request> requests;
    for (int32_t m = 0; m < kMany; ++m) {
      out[static_cast<size_t>(m)] = round * kMany + m;
      requests.push_back(comm.start_recv(&in[static_cast<size_t>(m)], 1, DType::kInt32, before));
    }
    for (int32_t& value : out) requests.push_back(comm.start_send(&value, 1, DType::kInt32, next));
    for (Request& request : requests) request.wait();
    expect(in == out, "messages of one tag keep their order");
  }
}

// Many under way, of all kinds, each rank waiting for them in an order of its own, blocking ones in
// between.
void requests_overlap_and_may_be_awaited_in_any_order(Communicator& comm) {
  constexpr int kMany = 4;
  const auto size = static_cast<size_t>(comm.size());
  std::vector<Buffer> reduce, gather, scatter, whole, to_all, from_all;
  std::vector<Request> requests;
  const int64_t count = 60013;
  const std::vector<int64_t> counts = ragged(comm.size(), 20001);
  const auto mine = static_cast<size_t>(comm.rank());
  for (int i = 0; i < kMany; ++i) {
    const int shift = 17 * i;
    reduce.push_back(values(DType::kFloat32, count, comm.rank() + shift));
    requests.push_back(
        comm.start_all_reduce(reduce.back().data(), reduce.back().data(), count, DType::kFloat32));
    whole.push_back(values(DType::kBFloat16, total(counts), comm.rank() + shift));
    scatter.emplace_back(static_cast<size_t>(counts[mine]) * 2);
    requests.push_back(comm.start_reduce_scatter(whole.back().data(), scatter.back().data(), counts,
                                                 DType::kBFloat16));
    gather.emplace_back(size * 8);
    const int64_t place = int64_t{8} * comm.rank();
    const int64_t value = comm.rank() * 1000 + i;
    std::memcpy(gather.back().data() + place, &value, 8);
    requests.push_back(comm.start_all_gather(gather.back().data() + place, gather.back().data(),
                                             std::vector<int64_t>(size, 1), DType::kInt64));
    to_all.push_back(values(DType::kInt32, count * comm.size(), comm.rank() + shift));
    from_all.emplace_back(to_all.back().size());
    requests.push_back(
        comm.start_all_to_all(to_all.back().data(), from_all.back().data(), count, DType::kInt32));
  }
  comm.poll();
  double norm = comm.rank();
  comm.all_reduce(&norm, &norm, 1, DType::kFloat64);
  expect(norm == comm.size() * (comm.size() - 1) / 2, "a blocking sum beside requests");
  for (size_t i = 0; i < requests.size(); ++i) {
    const size_t which = comm.rank() % 2 == 0 ? i : requests.size() - 1 - i;
    requests[which].wait();
    expect(requests[which].test(), "a request stays done");
  }
  const Operation parts{.dtype = DType::kBFloat16, .counts = counts};
  const auto begin = static_cast<size_t>(part_offset(parts, comm.rank()));
  for (size_t i = 0; i < kMany; ++i) {
    const int shift = 17 * static_cast<int>(i);
    same(reduce[i], reduced(DType::kFloat32, ReduceOp::kSum, count, comm.size(), shift),
         "start_all_reduce", DType::kFloat32, count);
    const Buffer all = reduced(DType::kBFloat16, ReduceOp::kSum, total(counts), comm.size(), shift);
    same(scatter[i], part(all, begin, scatter[i].size()), "start_reduce_scatter", DType::kBFloat16,
         count);
    for (int r = 0; r < comm.size(); ++r) {
      int64_t got = 0;
      std::memcpy(&got, gather[i].data() + 8 * r, 8);
      expect(got == r * 1000 + static_cast<int64_t>(i), "start_all_gather");
      const Buffer theirs = values(DType::kInt32, count * comm.size(), r + shift);
      const size_t bytes = static_cast<size_t>(count) * 4;
      same(part(from_all[i], static_cast<size_t>(r) * bytes, bytes),
           part(theirs, mine * bytes, bytes), "start_all_to_all", DType::kInt32, count);
    }
  }
}

// test() and poll() alone bring every request to its end.
void requests_end_without_wait(Communicator& comm) {
  Buffer data = values(DType::kFloat32, 300007, comm.rank());
  Request request = comm.start_all_reduce(data.data(), data.data(), 300007, DType::kFloat32);
  while (!request.test()) comm.poll();
  same(data, reduced(DType::kFloat32, ReduceOp::kSum, 300007, comm.size()), "test", DType::kFloat32,
       300007);
  comm.barrier();
}

// Even and odd ranks, ranked backwards; then a group split once more, and both used at once.
void split_makes_groups_by_color_and_key(Communicator& comm) {
  Communicator group = comm.split(comm.rank() % 2, -comm.rank());
  const int members = (comm.size() + (comm.rank() % 2 == 0 ? 1 : 0)) / 2;
  expect(group.size() == members, "the size of a group");
  expect(group.rank() == members - 1 - comm.rank() / 2, "ranks by key");
  int64_t sum = comm.rank();
  group.all_reduce(&sum, &sum, 1, DType::kInt64);
  int64_t want = 0;
  for (int r = comm.rank() % 2; r < comm.size(); r += 2) want += r;
  expect(sum == want, "a sum within a group");

  // Rank 0 alone, the others together (uneven), equal keys: in order of rank.
  Communicator uneven = comm.split(comm.rank() == 0 ? 7 : 3, 0);
  expect(uneven.size() == (comm.rank() == 0 ? 1 : comm.size() - 1), "the size of an uneven group");
  expect(uneven.rank() == (comm.rank() == 0 ? 0 : comm.rank() - 1), "equal keys keep the order");
  Communicator again = uneven.split(uneven.rank() / 2, uneven.rank());
  std::vector<int32_t> in_world(1, comm.rank()), all(static_cast<size_t>(comm.size())), inner(2);
  Request outer = comm.start_all_gather(in_world.data(), all.data(),
                                        std::vector<int64_t>(all.size(), 1), DType::kInt32);
  again.all_gather(in_world.data(), inner.data(), 1, DType::kInt32);
  outer.wait();
  for (int r = 0; r < comm.size(); ++r) {
    expect(all[static_cast<size_t>(r)] == r, "the first communicator still works");
  }
  for (int i = 0; i < again.size(); ++i) {
    expect(inner[static_cast<size_t>(i)] == comm.rank() - again.rank() + i, "a group of a group");
  }
  if (again.size() == 2) {
    int32_t got = -1;
    Request receive = again.start_recv(&got, 1, DType::kInt32, 1 - again.rank(), tag(comm, 5));
    again.send(in_world.data(), 1, DType::kInt32, 1 - again.rank(), tag(comm, 5));
    receive.wait();
    expect(got == inner[static_cast<size_t>(1 - again.rank())], "a message within a group");
  }
}

// A tree over 8 micro-batches, whoever holds them: each rank sums its own, the ranks their sums.
void sums_do_not_depend_on_who_holds_the_micro_batches(Communicator& comm) {
  const int size = comm.size();
  if (8 % size != 0 || !has_ordered(comm)) return;
  const int64_t count = 10007;
  std::vector<Buffer> all;
  std::vector<const void*> leaves;
  for (int i = 0; i < 8; ++i) all.push_back(values(DType::kFloat32, count, 50 + i));
  for (const Buffer& leaf : all) leaves.push_back(leaf.data());
  Buffer want(static_cast<size_t>(count) * 4), got(want.size());
  combine_tree(DType::kFloat32, ReduceOp::kSum, leaves, want.data(), count);
  const auto first = leaves.begin() + comm.rank() * (8 / size);
  const std::vector<const void*> mine(first, first + 8 / size);
  combine_tree(DType::kFloat32, ReduceOp::kSum, mine, got.data(), count);
  comm.all_reduce_ordered(got.data(), got.data(), count, DType::kFloat32);
  same(got, want, "all_reduce_ordered over local trees", DType::kFloat32, count);
}

void nan_and_infinity_are_not_lost(Communicator& comm) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    const bool last = comm.rank() == comm.size() - 1;
    std::vector<float> data = {last ? std::numeric_limits<float>::quiet_NaN() : 1.0F,
                               last ? std::numeric_limits<float>::infinity() : 2.0F};
    comm.all_reduce(data.data(), data.data(), 2, DType::kFloat32, op);
    expect(std::isnan(data[0]), "a NaN of one rank reaches all");
    expect(op == ReduceOp::kMin || std::isinf(data[1]), "an infinity of one rank reaches all");
  }
}

// A recv dropped by an exception takes nothing of what comes later.
void a_dropped_recv_receives_nothing(Communicator& comm) {
  if (comm.size() == 1) return;
  int32_t dropped = -1, kept = -1;
  if (comm.rank() == 0) {
    try {
      const Request request = comm.start_recv(&dropped, 1, DType::kInt32, 1, tag(comm, 3));
      throw std::runtime_error("on the way out");
    } catch (const std::runtime_error&) {
    }
  }
  comm.barrier();
  if (comm.rank() == 0) comm.recv(&kept, 1, DType::kInt32, 1, tag(comm, 3));
  const int32_t value = 42;
  if (comm.rank() == 1) comm.send(&value, 1, DType::kInt32, 0, tag(comm, 3));
  expect(comm.rank() != 0 || (kept == 42 && dropped == -1), "the recv that waits has the message");
}

// All before anything is sent, so the communicator works on.
void impossible_arguments_are_refused(Communicator& comm) {
  std::vector<float> data(64);
  float* p = data.data();
  const int size = comm.size();
  refused([&] { comm.all_reduce(p, p, -1, DType::kFloat32); }, "a negative count");
  refused([&] { comm.all_reduce(p, p + 1, 4, DType::kFloat32); }, "an overlap");
  refused([&] { comm.all_reduce(nullptr, p, 4, DType::kFloat32); }, "a missing buffer");
  refused([&] { comm.all_gather(p, p + 32, std::vector<int64_t>(5, 1), DType::kFloat32); },
          "a count too many");
  refused([&] { comm.all_to_all(p, p, 1, DType::kFloat32); }, "all_to_all in place");
  refused([&] { comm.broadcast(p, 1, DType::kFloat32, size); }, "a root that is no rank");
  refused([&] { comm.send(p, 1, DType::kFloat32, comm.rank()); }, "a message to itself");
  refused([&] { comm.recv(p, 1, DType::kFloat32, size); }, "a message from nobody");
  refused([&] { comm.send(p, 1, DType::kFloat32, (comm.rank() + 1) % (size + 1), -1); },
          "a negative tag");
  refused([&] { comm.split(-1, 0); }, "a negative color");
  data.assign(1, 1.0F);
  comm.all_reduce(data.data(), data.data(), 1, DType::kFloat32);
  expect(data[0] == static_cast<float>(size), "the communicator works on");
}

}  // namespace

std::vector<ConformanceCase> conformance_cases() {
  return {
      {"all_reduce_equals_the_local_tree", all_reduce_equals_the_local_tree},
      {"large_buffers_are_reduced_gathered_and_sent", large_buffers_are_reduced_gathered_and_sent},
      {"reduce_scatter_gives_each_its_part", reduce_scatter_gives_each_its_part},
      {"all_gather_puts_the_parts_in_order", all_gather_puts_the_parts_in_order},
      {"broadcast_and_all_to_all_move_what_they_should",
       broadcast_and_all_to_all_move_what_they_should},
      {"messages_arrive_by_tag_and_in_order", messages_arrive_by_tag_and_in_order},
      {"messages_of_one_tag_keep_their_order_while_many_are_waited_for",
       messages_of_one_tag_keep_their_order_while_many_are_waited_for},
      {"requests_overlap_and_may_be_awaited_in_any_order",
       requests_overlap_and_may_be_awaited_in_any_order},
      {"requests_end_without_wait", requests_end_without_wait},
      {"split_makes_groups_by_color_and_key", split_makes_groups_by_color_and_key},
      {"sums_do_not_depend_on_who_holds_the_micro_batches",
       sums_do_not_depend_on_who_holds_the_micro_batches},
      {"nan_and_infinity_are_not_lost", nan_and_infinity_are_not_lost},
      {"a_dropped_recv_receives_nothing", a_dropped_recv_receives_nothing},
      {"impossible_arguments_are_refused", impossible_arguments_are_refused},
  };
}

}  // namespace hone::test
