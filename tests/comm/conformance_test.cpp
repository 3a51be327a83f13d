// The conformance suite on the backends that need no launcher; mpirun.cpp has the others.
#include "tests/comm/conformance.h"

#include <gtest/gtest.h>

#include <tuple>

#include "parallel/comm/checked.h"
#include "parallel/comm/threads.h"

namespace hone::test {
namespace {

using namespace parallel;  // NOLINT

// Ranks as threads, 0 for the solo backend; and whether in debug mode.
using Configuration = std::tuple<int, bool>;

class Conformance : public testing::TestWithParam<std::tuple<Configuration, size_t>> {};

TEST_P(Conformance, Holds) {
  const auto& [configuration, index] = GetParam();
  const auto [ranks, debug] = configuration;
  const ConformanceCase conformance = conformance_cases()[index];
  const auto run = [&, debug = debug](Communicator& plain) {
    Communicator comm = debug ? checked(plain) : plain;
    conformance.run(comm);
    comm.finish();
  };
  if (ranks == 0) {
    Communicator solo = make_communicator("solo");
    EXPECT_NO_THROW(run(solo));
  } else {
    EXPECT_NO_THROW(run_ranks(ranks, run));
  }
}

std::string name_of(const testing::TestParamInfo<Conformance::ParamType>& info) {
  const auto& [configuration, index] = info.param;
  const auto [ranks, debug] = configuration;
  const std::string backend = ranks == 0 ? "solo" : "threads" + std::to_string(ranks);
  return conformance_cases()[index].name + "_" + backend + (debug ? "_checked" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Backends, Conformance,
    testing::Combine(testing::Values(Configuration{0, false}, Configuration{1, false},
                                     Configuration{2, false}, Configuration{3, false},
                                     Configuration{4, false}, Configuration{0, true},
                                     Configuration{3, true}),
                     testing::Range(size_t{0}, conformance_cases().size())),
    name_of);

}  // namespace
}  // namespace hone::test
