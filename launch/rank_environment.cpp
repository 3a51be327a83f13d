#include "launch/rank_environment.h"

#include <charconv>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace hone::launch {
namespace {

using core::ErrorKind;

[[noreturn]] void fail_variables(const std::string& what, const std::string& where,
                                 const std::string& got, const std::string& expected = "") {
  core::fail(ErrorKind::kBadRecipe, {.what = what,
                                     .where = where,
                                     .got = got,
                                     .expected = expected,
                                     .hint = "unset what another program left in the environment"});
}

class Variables {
 public:
  explicit Variables(const core::ReadEnvironment& read) : read_(read) {}

  std::optional<int> number(const char* name) const {
    const std::string text = read_(name);
    if (text.empty()) return std::nullopt;
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
      fail_variables("a variable of the environment is no number", name, core::excerpt(text, 40),
                     "a whole number, at least 0");
    return value;
  }

  bool has(const char* name) const { return !read_(name).empty(); }

 private:
  const core::ReadEnvironment& read_;
};

struct Names {
  const char *rank, *world_size, *local_rank, *local_size;
};
constexpr Names kOpenMpi{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kSlurm{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""};
constexpr Names kPlain{"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};

void require_below(const char* name, int value, const char* size_name, int size) {
  if (value < size) return;
  fail_variables("ranks count from 0 to one less than there are", name, std::to_string(value),
                 "less than " + std::string(size_name) + "=" + std::to_string(size));
}

RankEnvironment read_names(const Variables& variables, StartedBy started_by, const Names& names) {
  RankEnvironment environment{.started_by = started_by};
  const auto rank = variables.number(names.rank), size = variables.number(names.world_size);
  if (!rank || !size) {
    fail_variables("half of what says which rank this is", rank ? names.world_size : names.rank,
                   "not set", std::string("beside ") + (rank ? names.rank : names.world_size));
  }
  environment.rank = *rank;
  environment.world_size = *size;
  require_below(names.rank, *rank, names.world_size, *size);
  environment.local_rank = variables.number(names.local_rank).value_or(0);
  require_below(names.local_rank, environment.local_rank, names.world_size, *size);
  if (*names.local_size == '\0') return environment;
  environment.local_size = variables.number(names.local_size).value_or(0);
  if (environment.local_size > 0)
    require_below(names.local_rank, environment.local_rank, names.local_size,
                  environment.local_size);
  return environment;
}

void require_same(const char* name, int value, const char* other, std::optional<int> said) {
  if (!said || *said == value) return;
  fail_variables("two of those who start ranks contradict each other", other, std::to_string(*said),
                 std::string(name) + "=" + std::to_string(value));
}

RankEnvironment read_launcher(const Variables& variables) {
  const auto pmix = variables.number("PMIX_RANK");
  if (variables.has(kOpenMpi.rank) || variables.has(kOpenMpi.world_size)) {
    RankEnvironment environment = read_names(variables, StartedBy::kOpenMpi, kOpenMpi);
    environment.has_rendezvous = true;
    return environment;
  }
  // In a batch script SLURM_PROCID is there too: a step is told by the number of its tasks.
  if (variables.has(kSlurm.world_size)) {
    RankEnvironment environment = read_names(variables, StartedBy::kSlurm, kSlurm);
    require_same(kSlurm.rank, environment.rank, "PMIX_RANK", pmix);
    environment.has_rendezvous = pmix || variables.has("PMI_RANK");
    return environment;
  }
  if (pmix || variables.has("PMI_RANK")) {
    const int rank = pmix ? *pmix : *variables.number("PMI_RANK");
    return {.started_by = StartedBy::kPmix,
            .rank = rank,
            .world_size = 0,
            .local_rank = variables.number("MPI_LOCALRANKID").value_or(0),
            .has_rendezvous = true};
  }
  return {};
}

}  // namespace

const char* name_of(StartedBy started_by) {
  switch (started_by) {
    case StartedBy::kOpenMpi:
      return "mpirun";
    case StartedBy::kSlurm:
      return "srun";
    case StartedBy::kPmix:
      return "PMIx";
    case StartedBy::kPlain:
      return "RANK and WORLD_SIZE";
    case StartedBy::kAlone:
      break;
  }
  return "nobody";
}

RankEnvironment read_rank_environment(const core::ReadEnvironment& read) {
  const Variables variables(read);
  RankEnvironment environment = read_launcher(variables);
  if (variables.has(kPlain.rank) || variables.has(kPlain.world_size)) {
    const RankEnvironment plain = read_names(variables, StartedBy::kPlain, kPlain);
    if (environment.started_by == StartedBy::kAlone) {
      environment = plain;
      environment.has_rendezvous = variables.has("MASTER_ADDR") && variables.has("MASTER_PORT");
    } else {
      require_same("its rank", environment.rank, kPlain.rank, plain.rank);
      if (environment.world_size > 0)
        require_same("its number of ranks", environment.world_size, kPlain.world_size,
                     plain.world_size);
    }
  }
  environment.wanted_ranks = variables.number("HONE_RANKS").value_or(0);
  return environment;
}

void require_rendezvous(const RankEnvironment& environment) {
  if (environment.world_size > 1 && !environment.has_rendezvous) {
    core::fail(
        ErrorKind::kBadRecipe,
        {.what = "this is rank " + std::to_string(environment.rank) + " of " +
                 std::to_string(environment.world_size) + ", but nothing says where the others are",
         .where = name_of(environment.started_by),
         .hint = environment.started_by == StartedBy::kSlurm
                     ? "start them with srun --mpi=pmix, by mpirun, or by hone launch"
                     : "set MASTER_ADDR and MASTER_PORT to where rank 0 listens, start them with "
                       "hone launch, mpirun or srun --mpi=pmix, or unset them"});
  }
  const int size = environment.world_size;
  if (environment.wanted_ranks > 0 && size > 0 && size != environment.wanted_ranks) {
    core::fail(ErrorKind::kPeerLost,
               {.what = "another number of ranks was started than was asked for",
                .where = "HONE_RANKS",
                .got = std::to_string(size) + " ranks",
                .expected = std::to_string(environment.wanted_ranks),
                .hint = "a node may be missing"});
  }
}

}  // namespace hone::launch
