// Connections to all other ranks, and what has come over them and was not asked for yet.
#pragma once

#include <compare>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace hone::parallel {

// What a piece of data belongs to. Pieces of one key arrive in order.
struct TcpKey {
  int from = 0;         // rank of the world
  uint64_t group = 0;   // communicator
  uint32_t kind = 0;    // rounds of collectives, messages, the goodbye
  uint64_t number = 0;  // of the collective, or the tag
  auto operator<=>(const TcpKey&) const = default;
};

using TcpData = std::vector<std::byte>;

class TcpMesh {
 public:
  // Takes over the sockets (-1 for this rank).
  TcpMesh(int rank, std::vector<int> sockets);
  // Hangs up: others that did not get a goodbye take this rank for lost.
  ~TcpMesh();
  TcpMesh(const TcpMesh&) = delete;
  TcpMesh& operator=(const TcpMesh&) = delete;

  int rank() const { return rank_; }
  // `key.from` is this rank. Returns when the data may change. Throws kPeerLost.
  void send(int to, const TcpKey& key, const std::byte* data, int64_t bytes);
  // nullopt when it has not come yet. Throws kPeerLost when it never will: any rank that is lost
  // ends the run of all.
  std::optional<TcpData> take(const TcpKey& key);
  // Counts what comes; wait_for_more returns when the count is another.
  uint64_t num_arrived();
  void wait_for_more(uint64_t arrived);
  void say_goodbye();
  void hang_up();

 private:
  struct Header {
    uint64_t group = 0, number = 0;
    int64_t bytes = 0;
    uint32_t kind = 0, magic = 0;
  };
  struct Incoming {  // of one peer, read by the thread alone
    Header header;
    size_t header_bytes = 0;
    TcpData data;
    size_t data_bytes = 0;
  };
  void receive();                            // the thread
  bool read_some(size_t peer);               // false: the connection has ended
  void deliver(size_t peer, Incoming& one);  // whole
  void require_nobody_lost(int waiting_for) const;

  int rank_;
  std::vector<int> sockets_;
  std::vector<std::mutex> send_locks_;
  int wake_read_ = -1, wake_write_ = -1;
  std::vector<Incoming> incoming_;

  std::mutex lock_;
  std::condition_variable changed_;
  std::map<TcpKey, std::deque<TcpData>> inbox_;
  std::vector<bool> has_left_, has_ended_;
  uint64_t arrived_ = 0;
  std::thread thread_;
};

}  // namespace hone::parallel
