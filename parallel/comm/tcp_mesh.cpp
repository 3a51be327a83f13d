#include "parallel/comm/tcp_mesh.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

constexpr uint32_t kMagic = 0x686f6e65;
constexpr uint32_t kGoodbye = 0xffffffff;

[[noreturn]] void fail_lost(int peer, const std::string& how) {
  fail(ErrorKind::kPeerLost, {.what = "rank " + std::to_string(peer) + " is gone: " + how});
}

}  // namespace

TcpMesh::TcpMesh(int rank, std::vector<int> sockets)
    : rank_(rank),
      sockets_(std::move(sockets)),
      send_locks_(sockets_.size()),
      incoming_(sockets_.size()),
      has_left_(sockets_.size(), false),
      has_ended_(sockets_.size(), false) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) core::fail_errno("can't make a pipe", "pipe", errno);
  wake_read_ = ends[0];
  wake_write_ = ends[1];
  // Signals are for the threads that train.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { receive(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TcpMesh::~TcpMesh() {
  ::close(wake_write_);
  thread_.join();
  ::close(wake_read_);
  for (const int socket : sockets_) {
    if (socket >= 0) ::close(socket);
  }
}

void TcpMesh::send(int to, const TcpKey& key, const std::byte* data, int64_t bytes) {
  const auto peer = static_cast<size_t>(to);
  Header header{
      .group = key.group, .number = key.number, .bytes = bytes, .kind = key.kind, .magic = kMagic};
  const std::lock_guard lock(send_locks_[peer]);
  std::array<iovec, 2> parts{
      {{&header, sizeof header}, {const_cast<std::byte*>(data), static_cast<size_t>(bytes)}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (parts[0].iov_len + parts[1].iov_len > 0) {
    const ssize_t n = ::sendmsg(sockets_[peer], &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_lost(to, std::strerror(errno));
    auto left = static_cast<size_t>(n);
    for (iovec& part : parts) {
      const size_t taken = std::min(left, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + taken;
      part.iov_len -= taken;
      left -= taken;
    }
  }
}

void TcpMesh::require_nobody_lost(int waiting_for) const {
  for (size_t peer = 0; peer < has_ended_.size(); ++peer) {
    if (has_ended_[peer] && !has_left_[peer])
      fail_lost(static_cast<int>(peer), "its connection has ended");
  }
  if (has_left_[static_cast<size_t>(waiting_for)])
    fail_lost(waiting_for, "it left while others wait for it");
}

std::optional<TcpData> TcpMesh::take(const TcpKey& key) {
  const std::lock_guard lock(lock_);
  const auto found = inbox_.find(key);
  if (found == inbox_.end()) {
    require_nobody_lost(key.from);
    return std::nullopt;
  }
  TcpData data = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) inbox_.erase(found);
  return data;
}

uint64_t TcpMesh::num_arrived() {
  const std::lock_guard lock(lock_);
  return arrived_;
}

void TcpMesh::wait_for_more(uint64_t arrived) {
  std::unique_lock lock(lock_);
  changed_.wait(lock, [&] { return arrived_ != arrived; });
}

void TcpMesh::say_goodbye() {
  for (size_t peer = 0; peer < sockets_.size(); ++peer) {
    if (sockets_[peer] < 0) continue;
    try {
      send(static_cast<int>(peer), {.from = rank_, .kind = kGoodbye}, nullptr, 0);
    } catch (const core::Error&) {  // who is gone already needs none
    }
  }
}

void TcpMesh::hang_up() {
  for (const int socket : sockets_) {
    if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
  }
}

void TcpMesh::receive() {
  std::vector<pollfd> waits;
  for (const int socket : sockets_) waits.push_back({socket, POLLIN, 0});
  waits.push_back({wake_read_, POLLIN, 0});
  while (true) {
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits.back().revents != 0) return;
    for (size_t peer = 0; peer < sockets_.size(); ++peer) {
      if (waits[peer].fd < 0 || waits[peer].revents == 0) continue;
      if (read_some(peer)) continue;
      waits[peer].fd = -1;
      const std::lock_guard lock(lock_);
      has_ended_[peer] = true;
      ++arrived_;
      changed_.notify_all();
    }
  }
}

bool TcpMesh::read_some(size_t peer) {
  Incoming& one = incoming_[peer];
  const bool in_header = one.header_bytes < sizeof one.header;
  auto* to = in_header ? reinterpret_cast<std::byte*>(&one.header) + one.header_bytes
                       : one.data.data() + one.data_bytes;
  const size_t wanted =
      in_header ? sizeof one.header - one.header_bytes : one.data.size() - one.data_bytes;
  const ssize_t n = ::recv(sockets_[peer], to, wanted, 0);
  if (n < 0) return errno == EINTR;
  if (n == 0) return false;
  (in_header ? one.header_bytes : one.data_bytes) += static_cast<size_t>(n);
  if (one.header_bytes < sizeof one.header) return true;
  if (in_header) {
    if (one.header.magic != kMagic || one.header.bytes < 0) return false;
    one.data.resize(static_cast<size_t>(one.header.bytes));
  }
  if (one.data_bytes == one.data.size()) deliver(peer, one);
  return true;
}

void TcpMesh::deliver(size_t peer, Incoming& one) {
  const std::lock_guard lock(lock_);
  if (one.header.kind == kGoodbye) {
    has_left_[peer] = true;
  } else {
    const TcpKey key{.from = static_cast<int>(peer),
                     .group = one.header.group,
                     .kind = one.header.kind,
                     .number = one.header.number};
    inbox_[key].push_back(std::move(one.data));
  }
  one = Incoming();
  ++arrived_;
  changed_.notify_all();
}

}  // namespace hone::parallel
