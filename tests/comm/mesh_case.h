// What a mesh must be on every rank, whatever the backend.
#pragma once

#include "parallel/comm/mesh.h"

namespace hone::test {

// Collective. Throws std::runtime_error on a rank where something is wrong.
void check_mesh(const parallel::Communicator& world, const parallel::Layout& layout);

}  // namespace hone::test
