// How ranks meet: all call rank 0, which tells them where the others listen; then each calls those
// of lower number.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "core/error.h"
#include "parallel/comm/socket.h"
#include "parallel/comm/tcp.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kMagic = 0x68746331;  // "htc1": another version of this is another number

struct Hello {
  uint32_t magic = kMagic;
  int32_t rank = 0, size = 0, port = 0;  // port: where this rank listens
};

struct Place {
  uint32_t address = 0;  // network order
  int32_t port = 0;
};

int milliseconds_to(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

// False when the other side is gone or the time is over.
bool read_all(int fd, void* to, size_t bytes, Clock::time_point end) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    pollfd wait{fd, POLLIN, 0};
    if (::poll(&wait, 1, milliseconds_to(end)) <= 0) return false;
    const ssize_t n = ::recv(fd, at, bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

bool write_all(int fd, const void* from, size_t bytes) {
  const auto* at = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t n = ::send(fd, at, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

sockaddr_in internet(uint32_t address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = address;
  to.sin_port = htons(static_cast<uint16_t>(port));
  return to;
}

class Meeting {
 public:
  explicit Meeting(const TcpRendezvous& rendezvous)
      : r_(rendezvous),
        end_(Clock::now() + std::chrono::seconds(rendezvous.seconds)),
        links_(static_cast<size_t>(rendezvous.size)),
        places_(static_cast<size_t>(rendezvous.size)) {}

  std::vector<int> run() {
    listen(r_.rank == 0 ? r_.port : 0);
    if (r_.rank == 0) {
      gather();
    } else {
      call_first();
      for (int peer = 1; peer < r_.rank; ++peer) call(peer);
      while (count_missing() > 0) take_call("rank " + std::to_string(r_.rank));
    }
    std::vector<int> sockets;
    for (Socket& link : links_) sockets.push_back(link.release());
    return sockets;
  }

 private:
  std::string first_place() const { return r_.address + ":" + std::to_string(r_.port); }

  void listen(int port) {
    listener_ = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const sockaddr_in here = internet(htonl(INADDR_ANY), port);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        ::listen(listener_.get(), r_.size + 16) != 0) {
      const bool in_use = errno == EADDRINUSE;
      fail(ErrorKind::kUnavailable,
           {.what = in_use ? "the port at which ranks are to meet is in use"
                           : std::string("can't listen for ranks: ") + std::strerror(errno),
            .where = "MASTER_PORT",
            .got = std::to_string(port),
            .hint = in_use ? "another run may be there: give every run a port of its own" : ""});
    }
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    my_port_ = ntohs(bound.sin_port);
  }

  int count_missing() const {
    int missing = 0;
    for (int peer = 0; peer < r_.size; ++peer)
      missing += peer != r_.rank && !links_[static_cast<size_t>(peer)].is_open();
    return missing;
  }

  std::string missing_text() const {
    std::string text;
    for (int peer = 0; peer < r_.size; ++peer) {
      if (peer != r_.rank && !links_[static_cast<size_t>(peer)].is_open())
        text += " " + std::to_string(peer);
    }
    return (count_missing() == 1 ? "rank" : "ranks") + text;
  }

  [[noreturn]] void fail_missing() const {
    fail(ErrorKind::kPeerLost,
         {.what = missing_text() + " of " + std::to_string(r_.size) + " did not come within " +
                  std::to_string(r_.seconds) + " s",
          .where = "rendezvous at " + first_place(),
          .hint = "a node may be missing, or MASTER_ADDR not reach rank 0 from there"});
  }

  // Keeps the caller's link and place. A caller that is no rank of ours is hung up on; one that
  // claims to be another's rank ends the run.
  void take_call(const std::string& me) {
    pollfd wait{listener_.get(), POLLIN, 0};
    if (::poll(&wait, 1, milliseconds_to(end_)) <= 0) fail_missing();
    sockaddr_in from{};
    socklen_t size = sizeof from;
    Socket caller(
        ::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    constexpr auto kPatience = std::chrono::seconds(5);
    Hello hello;
    if (!caller.is_open() ||
        !read_all(caller.get(), &hello, sizeof hello, std::min(end_, Clock::now() + kPatience)) ||
        hello.magic != kMagic)
      return;
    if (hello.size != r_.size || hello.rank < 0 || hello.rank >= r_.size || hello.rank == r_.rank ||
        links_[static_cast<size_t>(hello.rank)].is_open()) {
      fail(ErrorKind::kBadRecipe,
           {.what = "ranks do not agree on who they are",
            .where = "RANK, WORLD_SIZE",
            .got = "a rank " + std::to_string(hello.rank) + " of " + std::to_string(hello.size),
            .expected = "others than " + me + " of " + std::to_string(r_.size) + ", each once"});
    }
    keep(hello.rank, std::move(caller));
    places_[static_cast<size_t>(hello.rank)] = {from.sin_addr.s_addr, hello.port};
  }

  void keep(int peer, Socket link) {
    const int yes = 1;
    ::setsockopt(link.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    links_[static_cast<size_t>(peer)] = std::move(link);
  }

  void gather() {
    while (count_missing() > 0) take_call("rank 0");
    for (int peer = 1; peer < r_.size; ++peer) {
      if (!write_all(links_[static_cast<size_t>(peer)].get(), places_.data(),
                     places_.size() * sizeof(Place)))
        fail_gone(peer);
    }
  }

  [[noreturn]] void fail_gone(int peer) const {
    fail(ErrorKind::kPeerLost, {.what = "rank " + std::to_string(peer) + " left while ranks met",
                                .where = "rendezvous at " + first_place(),
                                .hint = "it says why itself"});
  }

  uint32_t resolve() const {
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    const int error = ::getaddrinfo(r_.address.c_str(), nullptr, &hints, &found);
    if (error != 0) {
      fail(ErrorKind::kUnavailable, {.what = "rank 0's address can't be found",
                                     .where = "MASTER_ADDR",
                                     .got = r_.address + ": " + ::gai_strerror(error)});
    }
    const uint32_t address = reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr.s_addr;
    ::freeaddrinfo(found);
    return address;
  }

  // -1 and errno when nobody is there.
  Socket dial(uint32_t address, int port) const {
    Socket link(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in to = internet(address, port);
    const Hello hello{.rank = r_.rank, .size = r_.size, .port = my_port_};
    if (::connect(link.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      return Socket();
    if (!write_all(link.get(), &hello, sizeof hello)) return Socket();
    return link;
  }

  // Rank 0 may be started last.
  void call_first() {
    const uint32_t address = resolve();
    Socket link = dial(address, r_.port);
    while (!link.is_open()) {
      const int error = errno;
      if (Clock::now() >= end_) {
        fail(ErrorKind::kPeerLost,
             {.what = "rank 0 did not answer within " + std::to_string(r_.seconds) + " s",
              .where = "rendezvous at " + first_place(),
              .got = std::strerror(error)});
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      link = dial(address, r_.port);
    }
    if (!read_all(link.get(), places_.data(), places_.size() * sizeof(Place), end_)) fail_gone(0);
    keep(0, std::move(link));
  }

  void call(int peer) {
    const Place& place = places_[static_cast<size_t>(peer)];
    Socket link = dial(place.address, place.port);
    if (!link.is_open()) fail_gone(peer);
    keep(peer, std::move(link));
  }

  const TcpRendezvous& r_;
  Clock::time_point end_;
  Socket listener_;
  int my_port_ = 0;
  std::vector<Socket> links_;
  std::vector<Place> places_;
};

int number_of(const core::ReadEnvironment& environment, const char* name, int minimum, int maximum,
              int otherwise) {
  const std::string text = environment(name);
  if (text.empty() && otherwise >= 0) return otherwise;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || *end != '\0' || value < minimum || value > maximum) {
    fail(ErrorKind::kBadRecipe, {.what = "a variable that says how ranks meet is wrong",
                                 .where = name,
                                 .got = text.empty() ? "nothing" : text,
                                 .expected = "a number from " + std::to_string(minimum) + " to " +
                                             std::to_string(maximum)});
  }
  return value;
}

}  // namespace

TcpRendezvous read_rendezvous(const core::ReadEnvironment& environment) {
  constexpr int kMostRanks = 4096;
  TcpRendezvous rendezvous;
  rendezvous.size = number_of(environment, "WORLD_SIZE", 1, kMostRanks, -1);
  rendezvous.rank = number_of(environment, "RANK", 0, rendezvous.size - 1, -1);
  rendezvous.port = number_of(environment, "MASTER_PORT", 1, 65535, -1);
  rendezvous.seconds = number_of(environment, "HONE_RENDEZVOUS_SECONDS", 1, 86400, 120);
  rendezvous.address = environment("MASTER_ADDR");
  if (rendezvous.address.empty()) {
    fail(ErrorKind::kBadRecipe, {.what = "a variable that says how ranks meet is missing",
                                 .where = "MASTER_ADDR",
                                 .expected = "the address of rank 0's machine"});
  }
  return rendezvous;
}

std::vector<int> connect_ranks(const TcpRendezvous& rendezvous) {
  return Meeting(rendezvous).run();
}

}  // namespace hone::parallel
