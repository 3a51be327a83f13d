#include "parallel/liveness/heartbeat.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "core/error.h"

namespace hone::parallel {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxOutgoing = size_t{64} << 10;  // to a peer that does not read
constexpr auto kLastWords = milliseconds(300);     // of an orderly end
constexpr auto kOthersTime = milliseconds(800);    // to notice a loss, before this rank leaves

// Of a killed job the ranks of one machine go down one after the other.
constexpr auto kMoreLosses = milliseconds(60);

// The more often, the less old is what is known of a rank that is lost.
milliseconds interval_of(milliseconds timeout, size_t num_peers) {
  return std::clamp(timeout / 20, milliseconds(20), milliseconds(num_peers < 16 ? 100 : 250));
}

}  // namespace

Heartbeat::Heartbeat(std::map<int, Link>&& links, HeartbeatOptions options)
    : options_(std::move(options)),
      interval_(interval_of(options_.timeout, links.size())),
      silence_(options_.timeout * 3 / 4),  // the rest is to tell it
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  const auto now = Clock::now();
  next_beat_ = last_turn_ = now;
  for (auto& [rank, link] : links)
    peers_.push_back({.rank = rank, .link = std::move(link), .last_heard = now});
  // Signals are for the main thread.
  sigset_t all{}, earlier{};
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &earlier);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &earlier, nullptr);
}

Heartbeat::~Heartbeat() { command(Command::kStop); }

void Heartbeat::goodbye() { command(Command::kGoodbye); }

void Heartbeat::fail(int exit_code, const std::string& what) {
  {
    const std::lock_guard lock(failure_mutex_);
    failure_ = {.rank = options_.rank,
                .kind = LossKind::kFailed,
                .exit_code = exit_code,
                .what = what,
                .last = options_.record ? options_.record->status() : FlightStatus{}};
  }
  command(Command::kFail);
}

bool Heartbeat::wait_for_loss(milliseconds time) {
  const auto end = Clock::now() + time;
  while (!is_losing_ && Clock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  if (!is_losing_) return false;
  if (thread_.joinable()) thread_.join();
  return true;
}

void Heartbeat::command(Command command) {
  if (!thread_.joinable()) return;
  command_ = command;
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) < 0) return thread_.detach();  // never: a counter at 1
  thread_.join();
}

void Heartbeat::run() {
  watch();
  if (!losses_.empty()) return end_with_loss();
  if (command_ == Command::kStop) return;
  if (command_ == Command::kFail) {
    const std::lock_guard lock(failure_mutex_);
    queue({.kind = MessageKind::kFailed, .loss = failure_});
  }
  say_goodbye();
}

// Until there is a command, or a loss and all that are part of it.
void Heartbeat::watch() {
  for (;;) {
    const auto until = losses_.empty() ? next_beat_ : std::min(next_beat_, report_at_);
    turn(until);
    const auto now = Clock::now();
    if (!losses_.empty() && now >= report_at_) return;
    if (losses_.empty() && command_ != Command::kNone) return;
    if (now >= next_beat_) beat();
    check_silence();
  }
}

// Waits for messages and takes them.
void Heartbeat::turn(Clock::time_point until) {
  const bool is_commanded = command_ != Command::kNone;
  std::vector<pollfd> waits = {{is_commanded ? -1 : wake_.get(), POLLIN, 0}};
  for (const Peer& peer : peers_) {
    const int events = POLLIN | (peer.outgoing.empty() ? 0 : POLLOUT);
    waits.push_back({peer.link.socket.get(), static_cast<short>(events), 0});
  }
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  const int ready =
      ::poll(waits.data(), waits.size(), static_cast<int>(std::max<int64_t>(0, left)));
  if (ready <= 0) return;
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (waits[i + 1].fd < 0 || waits[i + 1].revents == 0) continue;
    if ((waits[i + 1].revents & POLLOUT) != 0) flush(peers_[i]);
    if ((waits[i + 1].revents & ~POLLOUT) != 0) read(peers_[i]);
  }
}

// What has come is taken before the end of a connection counts: a peer that leaves because of a
// loss has told it.
void Heartbeat::read(Peer& peer) {
  std::array<char, 16384> buffer{};
  bool is_over = false;
  for (;;) {
    const ssize_t size = ::recv(peer.link.socket.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    is_over = size <= 0;
    if (is_over) break;
    peer.link.reader.add({buffer.data(), static_cast<size_t>(size)});
  }
  try {
    while (const auto message = peer.link.reader.next()) take(peer, *message);
  } catch (const core::Error&) {
    is_over = true;  // the same program on the other side sends no such bytes
  }
  if (!is_over) return;
  const bool was_watched = peer.is_watched();
  peer.link.socket.close();
  if (was_watched) lose({.rank = peer.rank, .kind = LossKind::kClosed});
}

void Heartbeat::take(Peer& peer, const PeerMessage& message) {
  peer.last_heard = Clock::now();
  switch (message.kind) {
    case MessageKind::kHello:
      return;
    case MessageKind::kBeat:
      peer.last = message.status;
      return;
    case MessageKind::kLost: {
      peer.has_left = true;
      Loss loss = message.loss;
      loss.told_by = peer.rank;
      return lose(std::move(loss));
    }
    case MessageKind::kFailed: {
      peer.has_left = true;
      return lose(message.loss);
    }
    case MessageKind::kBye:
      peer.has_left = true;
      peer.link.socket.close();  // the answer
      return;
  }
}

void Heartbeat::lose(Loss loss) {
  for (const Loss& known : losses_) {
    if (known.rank == loss.rank) return;
  }
  const auto now = Clock::now();
  if (loss.told_by < 0 && loss.kind != LossKind::kFailed) {
    const auto peer = std::ranges::find(peers_, loss.rank, &Peer::rank);
    loss.last = peer->last;
    loss.silent_seconds = std::chrono::duration<double>(now - peer->last_heard).count();
  }
  if (losses_.empty()) report_at_ = now + kMoreLosses;
  queue({.kind = MessageKind::kLost, .loss = loss});
  losses_.push_back(std::move(loss));
  is_losing_ = true;
}

void Heartbeat::queue(const PeerMessage& message) {
  const std::string bytes = encode(message);
  const bool is_beat = message.kind == MessageKind::kBeat;
  for (Peer& peer : peers_) {
    if (!peer.link.socket.is_open()) continue;
    if (is_beat && peer.outgoing.size() + bytes.size() > kMaxOutgoing) continue;
    peer.outgoing += bytes;
    flush(peer);
  }
}

// As much as goes without waiting. An error shows where the peer is read.
void Heartbeat::flush(Peer& peer) {
  while (!peer.outgoing.empty()) {
    const ssize_t size = ::send(peer.link.socket.get(), peer.outgoing.data(), peer.outgoing.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK) peer.outgoing.clear();
    if (size <= 0) return;
    peer.outgoing.erase(0, static_cast<size_t>(size));
  }
}

void Heartbeat::beat() {
  next_beat_ = Clock::now() + interval_;
  queue({.kind = MessageKind::kBeat,
         .status = options_.record ? options_.record->status() : FlightStatus{}});
}

void Heartbeat::check_silence() {
  const auto now = Clock::now();
  // This process was stopped itself, with the whole job perhaps: what others sent meanwhile is read
  // first.
  const bool was_stopped = now - std::exchange(last_turn_, now) > silence_ / 2;
  for (Peer& peer : peers_) {
    if (was_stopped) peer.last_heard = now;
    if (peer.is_watched() && now - peer.last_heard > silence_)
      lose({.rank = peer.rank, .kind = LossKind::kSilent});
  }
}

void Heartbeat::drain(milliseconds time, const std::function<bool(const Peer&)>& is_wanted) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end && std::ranges::any_of(peers_, is_wanted)) turn(end);
}

void Heartbeat::end_with_loss() {
  if (options_.on_loss) options_.on_loss(losses_);
  drain(kOthersTime, [&](const Peer& peer) {
    const auto is_it = [&](const Loss& loss) { return loss.rank == peer.rank; };
    return peer.is_watched() && std::ranges::none_of(losses_, is_it);
  });
  if (options_.leave) options_.leave(losses_);
}

void Heartbeat::say_goodbye() {
  queue({.kind = MessageKind::kBye});
  drain(kLastWords,
        [](const Peer& peer) { return peer.link.socket.is_open() && !peer.outgoing.empty(); });
  for (const Peer& peer : peers_) ::shutdown(peer.link.socket.get(), SHUT_WR);
  // A connection that is closed with bytes unread is reset, and takes the last words with it.
  drain(kLastWords, [](const Peer& peer) { return peer.link.socket.is_open(); });
}

}  // namespace hone::parallel
