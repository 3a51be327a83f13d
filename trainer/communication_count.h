// What communication cost between two rows of the metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "parallel/comm/mesh.h"
#include "trainer/metrics.h"

namespace hone::trainer {

class CommunicationCount {
 public:
  void add_bytes(int64_t bytes) { bytes_ += bytes; }

  // Since the last call, of this rank; none of a run on one. `seconds`: what it has spent so far
  // waiting for others. Takes the counts of the mesh's axes back to zero.
  std::optional<Communication> take(const parallel::Mesh& mesh, double seconds) {
    Communication since{.num_bytes = std::exchange(bytes_, 0),
                        .exposed_seconds = seconds - std::exchange(seconds_, seconds)};
    for (const auto& [axis, use] : mesh.uses) {
      const parallel::AxisUse used = std::exchange(*use, {});
      since.axes.push_back({axis, used.bytes, used.seconds});
    }
    return mesh.host.size() > 1 ? std::optional(since) : std::nullopt;
  }

 private:
  int64_t bytes_ = 0;
  double seconds_ = 0;
};

}  // namespace hone::trainer
