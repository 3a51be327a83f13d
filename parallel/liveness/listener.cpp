#include "parallel/liveness/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/text.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;

struct Interface {
  std::string name, address;
  bool is_loopback = false, is_v4 = false;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

std::string numeric(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes =
      address->sa_family == AF_INET
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
          : &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  ::inet_ntop(address->sa_family, bytes, text.data(), text.size());
  return text.data();
}

// The address of a numeric text; size 0 for another text.
SocketAddress parse_address(const std::string& text, int port) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof(sockaddr_in6);
  }
  return address;
}

// Those that are up, IPv4 first. Link-local IPv6 addresses need a scope and are left out.
std::vector<Interface> interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) core::fail_errno("can't list the interfaces", "getifaddrs", errno);
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::vector<Interface> found;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr);
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) continue;
    found.push_back({.name = i->ifa_name,
                     .address = numeric(i->ifa_addr),
                     .is_loopback = (i->ifa_flags & IFF_LOOPBACK) != 0,
                     .is_v4 = family == AF_INET});
  }
  std::ranges::stable_sort(found, [](const auto& a, const auto& b) { return a.is_v4 > b.is_v4; });
  return found;
}

// Of bridges to containers and virtual machines of this one.
bool is_internal(const std::string& name) {
  for (const char* prefix : {"docker", "virbr", "veth", "br-", "cni", "flannel"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

std::vector<std::string> addresses_of_name(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  std::vector<std::string> found;
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) found.push_back(numeric(i->ai_addr));
  return found;
}

[[noreturn]] void fail_interface(const std::string& what, const std::string& got,
                                 const std::vector<Interface>& all) {
  std::vector<std::string> names;
  for (const Interface& one : all) names.push_back(one.name + " (" + one.address + ")");
  core::fail(ErrorKind::kBadRecipe, {.what = what,
                                     .where = "comm_interface",
                                     .got = got,
                                     .expected = "one of " + core::join(names, ", ")});
}

std::string chosen_address(const ListenOptions& options) {
  if (options.interface.empty() && options.one_machine) return "127.0.0.1";
  const std::vector<Interface> all = interfaces();
  if (!options.interface.empty()) {
    for (const Interface& one : all) {
      if (one.name == options.interface || one.address == options.interface) return one.address;
    }
    fail_interface("this machine has no such interface", options.interface, all);
  }
  // What others resolve this machine's name to they can most likely reach.
  for (const std::string& address : addresses_of_name(core::host_name())) {
    for (const Interface& one : all) {
      if (one.address == address && !one.is_loopback) return address;
    }
  }
  for (const Interface& one : all) {
    if (!one.is_loopback && !is_internal(one.name)) return one.address;
  }
  fail_interface("this machine has no address that the ranks of other machines could reach", "",
                 all);
}

Socket make_socket(int family) {
  return Socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

}  // namespace

std::string Endpoint::text() const {
  return host + " (" + address + " port " + std::to_string(port) + ")";
}

Listener::Listener(const ListenOptions& options) {
  constexpr int kMaxPort = 65535;
  if (options.port < 0 || options.port > kMaxPort) {
    core::fail(ErrorKind::kBadRecipe, {.what = "no port is left for this rank",
                                       .where = "comm_port",
                                       .got = std::to_string(options.port),
                                       .expected = "at most " + std::to_string(kMaxPort)});
  }
  endpoint_ = {.host = core::host_name(), .address = chosen_address(options), .port = options.port};
  SocketAddress address = parse_address(endpoint_.address, options.port);
  socket_ = make_socket(address.storage.ss_family);
  const int on = 1;
  // A port that the last run has left a moment ago is free.
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket_.get(), address.get(), address.size) != 0) {
    if (errno == EADDRINUSE || errno == EACCES) {
      core::fail(ErrorKind::kBadRecipe,
                 {.what = errno == EACCES ? "the port may not be used" : "the port is in use",
                  .where = "comm_port",
                  .got = std::to_string(options.port) + " on " + endpoint_.host + " (" +
                         endpoint_.address + ")",
                  .hint = "another port, or 0 for any that is free"});
    }
    core::fail_errno("can't listen for other ranks", endpoint_.text(), errno);
  }
  if (::listen(socket_.get(), SOMAXCONN) != 0)
    core::fail_errno("can't listen for other ranks", endpoint_.text(), errno);
  address.size = sizeof address.storage;
  ::getsockname(socket_.get(), address.get(), &address.size);
  endpoint_.port = ntohs(address.storage.ss_family == AF_INET
                             ? reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port
                             : reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port);
}

Socket start_connect(const Endpoint& to) {
  SocketAddress address = parse_address(to.address, to.port);
  Socket socket = make_socket(address.storage.ss_family);
  if (!socket.is_open()) return socket;
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    const int error = errno;
    socket.close();
    errno = error;
  }
  return socket;
}

}  // namespace hone::parallel
