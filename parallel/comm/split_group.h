// The group that a rank of a backend is in after a split, for backends that know their members.
#pragma once

#include <vector>

#include "parallel/comm/backend.h"

namespace hone::parallel {

struct SplitGroup {
  std::vector<int> members;  // as numbers of the world, in order of their rank in the group
  int rank = -1;             // of this one
};

// Collective, as split_members. `members` are those of `backend`.
inline SplitGroup split_group(Backend& backend, const std::vector<int>& members, int color,
                              int key) {
  SplitGroup group;
  for (const int member : split_members(backend, color, key)) {
    if (member == backend.rank()) group.rank = static_cast<int>(group.members.size());
    group.members.push_back(members[static_cast<size_t>(member)]);
  }
  return group;
}

}  // namespace hone::parallel
