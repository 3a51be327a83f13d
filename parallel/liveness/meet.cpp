#include "parallel/liveness/meet.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "core/error.h"

namespace hone::parallel {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kMaxAll = 64;
constexpr auto kRetry = milliseconds(100);
constexpr size_t kMaxStrangers = 256;  // connections that have not yet said who they are

// To a rank below this one.
struct Outgoing {
  int rank = -1;
  Link link;
  bool is_greeted = false;  // connected, and waits for the answer
  Clock::time_point retry_at;
  std::string problem = "no answer";
};

class MeetingRun {
 public:
  MeetingRun(const Listener& listener, const Meeting& meeting)
      : listener_(listener), meeting_(meeting), end_(Clock::now() + meeting.timeout) {
    for (const int peer : peers_of(meeting.rank, static_cast<int>(meeting.ranks.size()))) {
      if (peer < meeting.rank) outgoing_.push_back({.rank = peer, .retry_at = Clock::now()});
      if (peer > meeting.rank) expected_.insert(peer);
    }
  }

  Met run() {
    while (!(outgoing_.empty() && expected_.empty()) && Clock::now() < end_) {
      for (Outgoing& to : outgoing_) {
        if (!to.link.socket.is_open() && Clock::now() >= to.retry_at) connect(to);
      }
      wait();
    }
    for (const Outgoing& to : outgoing_) add_missing(to.rank, to.problem);
    for (const int rank : expected_) add_missing(rank, "it did not connect");
    return std::move(met_);
  }

 private:
  void add_missing(int rank, const std::string& why) {
    met_.missing += (met_.missing.empty() ? "" : ", ") + std::string("rank ") +
                    std::to_string(rank) + " on " +
                    meeting_.ranks[static_cast<size_t>(rank)].text() + ": " + why;
  }

  void connect(Outgoing& to) {
    to.link.socket = start_connect(meeting_.ranks[static_cast<size_t>(to.rank)]);
    if (!to.link.socket.is_open()) fail(to, std::strerror(errno));
  }

  static void fail(Outgoing& to, const std::string& problem) {
    to.problem = problem;
    to.link = {};
    to.is_greeted = false;
    to.retry_at = Clock::now() + kRetry;
  }

  void wait() {
    std::vector<pollfd> waits = {{listener_.descriptor(), POLLIN, 0}};
    for (const Outgoing& to : outgoing_) {
      const int events = to.is_greeted ? POLLIN : POLLOUT;
      waits.push_back({to.link.socket.get(), static_cast<short>(events), 0});
    }
    for (const Link& stranger : strangers_) waits.push_back({stranger.socket.get(), POLLIN, 0});
    ::poll(waits.data(), waits.size(), 20);
    const size_t first_stranger = 1 + outgoing_.size();
    for (size_t i = waits.size(); i-- > first_stranger;) {
      if (waits[i].revents != 0) take_stranger(i - first_stranger);
    }
    for (size_t i = first_stranger; i-- > 1;) {
      if (waits[i].fd >= 0 && waits[i].revents != 0) go_on(i - 1);
    }
    if (waits[0].revents != 0) accept();
  }

  // A fresh connection takes so few bytes at once.
  bool greet(const Socket& socket) const {
    const std::string hello =
        encode({.kind = MessageKind::kHello, .secret = meeting_.secret, .rank = meeting_.rank});
    return ::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(hello.size());
  }

  void go_on(size_t i) {
    Outgoing& to = outgoing_[i];
    if (!to.is_greeted) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(to.link.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error == 0 && !greet(to.link.socket)) error = errno;
      if (error != 0) return fail(to, std::strerror(error));
      to.is_greeted = true;
      to.problem = "it takes connections and does not answer";
      return;
    }
    const Heard heard = hear(to.link);
    if (heard.is_over) return fail(to, "what answers is no rank of this run");
    if (heard.rank < 0) return;
    met_.links[to.rank] = std::move(to.link);
    outgoing_.erase(outgoing_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void accept() {
    Socket socket(
        ::accept4(listener_.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.is_open() || strangers_.size() >= kMaxStrangers) return;
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    strangers_.push_back({.socket = std::move(socket), .reader = {}});
  }

  struct Heard {
    int rank = -1;         // of this run, that has said so
    bool is_over = false;  // closed, or a stranger
  };

  Heard hear(Link& link) const {
    std::array<char, 4096> buffer{};
    const ssize_t size = ::recv(link.socket.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (size <= 0) return {.is_over = true};
    try {
      link.reader.add({buffer.data(), static_cast<size_t>(size)});
      const auto message = link.reader.next();
      if (!message) return {};
      const bool is_ours =
          message->kind == MessageKind::kHello && message->secret == meeting_.secret;
      return is_ours ? Heard{.rank = message->rank} : Heard{.is_over = true};
    } catch (const core::Error&) {
      return {.is_over = true};
    }
  }

  void take_stranger(size_t i) {
    const Heard heard = hear(strangers_[i]);
    if (heard.rank < 0 && !heard.is_over) return;
    // A rank that connects once more has given up its first connection.
    const bool is_peer = heard.rank > meeting_.rank &&
                         (expected_.erase(heard.rank) == 1 || met_.links.contains(heard.rank));
    if (is_peer && greet(strangers_[i].socket)) met_.links[heard.rank] = std::move(strangers_[i]);
    strangers_.erase(strangers_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  const Listener& listener_;
  const Meeting& meeting_;
  const Clock::time_point end_;
  std::vector<Outgoing> outgoing_;
  std::set<int> expected_;  // that connect to this one
  std::vector<Link> strangers_;
  Met met_;
};

}  // namespace

std::vector<int> peers_of(int rank, int num_ranks) {
  std::set<int> peers;
  if (num_ranks <= kMaxAll) {
    for (int r = 0; r < num_ranks; ++r) peers.insert(r);
  } else {
    for (int distance = 1; distance < num_ranks; distance *= 2) {
      peers.insert((rank + distance) % num_ranks);
      peers.insert((rank + num_ranks - distance) % num_ranks);
    }
  }
  peers.erase(rank);
  return {peers.begin(), peers.end()};
}

Met meet(const Listener& listener, const Meeting& meeting) {
  return MeetingRun(listener, meeting).run();
}

}  // namespace hone::parallel
