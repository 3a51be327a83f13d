#include "parallel/liveness/connect.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "core/environment.h"
#include "core/error.h"
#include "core/json.h"
#include "parallel/comm/agree.h"

namespace hone::parallel {
namespace {

using core::Json;

std::string random_text() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    core::fail_errno("no random numbers", "getrandom", errno);
  std::string text;
  for (const unsigned char byte : bytes) text += std::to_string(byte) + ".";
  return text;
}

ListenOptions listen_options(const ConnectOptions& options, const std::vector<std::string>& hosts,
                             int rank) {
  const auto own = hosts.begin() + rank;
  const auto before = static_cast<int>(std::count(hosts.begin(), own, *own));
  const bool one_machine = std::ranges::all_of(hosts, [&](const auto& h) { return h == *own; });
  return {.interface = options.interface,
          .port = options.port == 0 ? 0 : options.port + before,
          .one_machine = one_machine};
}

Json endpoint_json(const Endpoint& endpoint) {
  return {{"host", endpoint.host}, {"address", endpoint.address}, {"port", endpoint.port}};
}

std::vector<Endpoint> endpoints_from(const std::vector<std::string>& texts) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : texts) {
    const Json json = Json::parse(text);
    endpoints.push_back(
        {.host = json.at("host"), .address = json.at("address"), .port = json.at("port")});
  }
  return endpoints;
}

// Every rank hears of every rank that is missing anywhere.
void require_all_met(Communicator& world, const std::string& missing) {
  const std::vector<std::string> all = gather_texts(world, missing);
  std::string text;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) text += "\n  from rank " + std::to_string(rank) + ": " + all[rank];
  }
  if (text.empty()) return;
  throw AgreedError(core::ErrorKind::kPeerLost,
                    {.what = "ranks can't reach each other" + text,
                     .hint = "comm_interface: the network between the machines; comm_port: ports "
                             "that a firewall lets through"});
}

}  // namespace

ConnectedRanks connect_ranks(Communicator& world, const ConnectOptions& options) {
  std::optional<Listener> listener;
  const std::vector<std::string> hosts = gather_texts(world, core::host_name());
  together(world, [&] { listener.emplace(listen_options(options, hosts, world.rank())); });
  ConnectedRanks connected;
  connected.ranks = endpoints_from(gather_texts(world, endpoint_json(listener->endpoint()).dump()));
  Met met = meet(*listener, {.rank = world.rank(),
                             .ranks = connected.ranks,
                             .secret = text_of_first(world, random_text()),
                             .timeout = options.timeout});
  require_all_met(world, met.missing);
  connected.links = std::move(met.links);
  return connected;
}

}  // namespace hone::parallel
