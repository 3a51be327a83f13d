#include "parallel/comm/agree.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/comm/checked.h"
#include "parallel/comm/threads.h"

namespace hone::parallel {
namespace {

using core::Error;
using core::ErrorDetail;
using core::ErrorKind;
using Texts = std::vector<std::string>;

std::string text_with_zeros() { return std::string("a\0b\0", 4); }

void expect_gathered(const Texts& texts) {
  run_ranks(static_cast<int>(texts.size()), [&](Communicator& comm) {
    EXPECT_EQ(gather_texts(comm, texts[static_cast<size_t>(comm.rank())]), texts);
  });
}

TEST(GatherTexts, EveryRankHearsAllByRank) {
  expect_gathered({"zero", "one", "two"});
  expect_gathered({"alone"});
}

TEST(GatherTexts, LengthsMayDifferAndBeNothing) {
  expect_gathered({"", "", ""});
  expect_gathered({"", "one", "", "three"});
  expect_gathered({"zero", "", std::string(100'000, 'x'), "3"});
}

TEST(GatherTexts, BytesArriveAsTheyAre) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  expect_gathered({text_with_zeros(), all, std::string(1, '\0'), "\n\"\xff"});
}

TEST(GatherTexts, OneRankHearsItself) {
  Communicator solo(make_solo());
  EXPECT_EQ(gather_texts(solo, text_with_zeros()), Texts{text_with_zeros()});
  EXPECT_EQ(gather_texts(solo, ""), Texts{""});
}

TEST(TextOfFirst, EveryRankGetsWhatRank0Says) {
  for (const std::string& first : {std::string(), std::string("x"), text_with_zeros(),
                                   std::string(70'000, 'y'), std::string("\xff\n")}) {
    run_ranks(3, [&](Communicator& comm) {
      const std::string mine = comm.rank() == 0 ? first : "longer than most of them, of rank 1, 2";
      EXPECT_EQ(text_of_first(comm, mine), first);
    });
    Communicator solo(make_solo());
    EXPECT_EQ(text_of_first(solo, first), first);
  }
}

// What each rank's `together` threw; fails where a rank got through, or threw something else.
struct Thrown {
  ErrorKind kind = ErrorKind::kUsage;
  ErrorDetail detail;
  std::string message;
};

std::vector<Thrown> thrown_by_all(int num_ranks, const std::function<void(int)>& work) {
  std::vector<Thrown> thrown(static_cast<size_t>(num_ranks));
  run_ranks(num_ranks, [&](Communicator& plain) {
    Communicator comm = checked(plain);
    try {
      together(comm, [&] { work(comm.rank()); });
      ADD_FAILURE() << "rank " << comm.rank() << " went on";
    } catch (const AgreedError& error) {
      thrown[static_cast<size_t>(comm.rank())] = {error.kind(), error.detail(), error.what()};
    }
    comm.barrier();  // all are still in step
  });
  return thrown;
}

// The one error that all ranks threw.
Thrown agreed(int num_ranks, const std::function<void(int)>& work) {
  const std::vector<Thrown> thrown = thrown_by_all(num_ranks, work);
  for (const Thrown& one : thrown) {
    EXPECT_EQ(one.kind, thrown.front().kind);
    EXPECT_EQ(one.message, thrown.front().message);
  }
  return thrown.front();
}

TEST(Together, WithoutAnErrorEveryRankWorksOnceAndGoesOn) {
  for (const int num_ranks : {1, 2, 4}) {
    std::vector<int> worked(static_cast<size_t>(num_ranks));
    run_ranks(num_ranks, [&](Communicator& comm) {
      together(comm, [&] { ++worked[static_cast<size_t>(comm.rank())]; });
    });
    EXPECT_EQ(worked, std::vector<int>(static_cast<size_t>(num_ranks), 1));
  }
}

const ErrorDetail kDiskFull{.what = "can't write",
                            .where = "out/model.safetensors",
                            .got = "0 B free",
                            .expected = "5 GB",
                            .hint = "make room"};

TEST(Together, TheErrorOfOneRankIsThrownByAllAndNamesIt) {
  for (int bad = 0; bad < 3; ++bad) {
    const Thrown thrown = agreed(3, [&](int rank) {
      if (rank == bad) core::fail(ErrorKind::kIo, kDiskFull);
    });
    EXPECT_EQ(thrown.kind, ErrorKind::kIo);
    EXPECT_EQ(thrown.detail.what, kDiskFull.what);
    EXPECT_EQ(thrown.detail.where, "rank " + std::to_string(bad) + ": out/model.safetensors");
    EXPECT_EQ(thrown.detail.got, kDiskFull.got);
    EXPECT_EQ(thrown.detail.expected, kDiskFull.expected);
    EXPECT_EQ(thrown.detail.hint, kDiskFull.hint);
    EXPECT_EQ(thrown.message, "rank " + std::to_string(bad) +
                                  ": out/model.safetensors: can't write: got 0 B free, expected 5 "
                                  "GB (make room)");
  }
}

TEST(Together, AnErrorOfNoPlaceIsAtItsRank) {
  const Thrown thrown = agreed(2, [](int rank) {
    if (rank == 1) core::fail(ErrorKind::kBadInput, {.what = "no rows"});
  });
  EXPECT_EQ(thrown.detail.where, "rank 1");
  EXPECT_EQ(thrown.message, "rank 1: no rows");
}

TEST(Together, WhereAllFailAlikeTheErrorIsAsItWas) {
  for (const int num_ranks : {1, 2, 4}) {
    const Thrown thrown =
        agreed(num_ranks, [](int) { core::fail(ErrorKind::kBadRecipe, kDiskFull); });
    EXPECT_EQ(thrown.kind, ErrorKind::kBadRecipe);
    EXPECT_EQ(thrown.message, core::format_detail(kDiskFull));
  }
}

TEST(Together, OneRankThrowsItsErrorAsAnAgreedOne) {
  Communicator solo(make_solo());
  try {
    together(solo, [] { core::fail(ErrorKind::kIo, kDiskFull); });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_EQ(error.detail().where, kDiskFull.where);
  }
}

TEST(Together, OfDifferentErrorsTheLowestRanksIsThrownAndAllThatFailedAreNamed) {
  const Thrown two = agreed(4, [](int rank) {
    if (rank == 3) core::fail(ErrorKind::kIo, kDiskFull);
    if (rank == 1)
      core::fail(ErrorKind::kMissingInput, {.what = "no such file", .where = "a.jsonl"});
  });
  EXPECT_EQ(two.kind, ErrorKind::kMissingInput);
  EXPECT_EQ(two.message, "ranks 1 3: a.jsonl: no such file");
  const Thrown all = agreed(
      3, [](int rank) { core::fail(ErrorKind::kIo, {.what = "disk of " + std::to_string(rank)}); });
  EXPECT_EQ(all.message, "ranks 0 1 2: disk of 0");
}

TEST(Together, TheSameErrorOnSomeRanksNamesThem) {
  const Thrown thrown = agreed(4, [](int rank) {
    if (rank % 2 == 1) core::fail(ErrorKind::kIo, {.what = "disk full"});
  });
  EXPECT_EQ(thrown.message, "ranks 1 3: disk full");
}

TEST(Together, ErrorsOfTheSameTextButOtherKindsAreDifferent) {
  const Thrown thrown = agreed(2, [](int rank) {
    core::fail(rank == 0 ? ErrorKind::kBadInput : ErrorKind::kIo, {.what = "broken"});
  });
  EXPECT_EQ(thrown.kind, ErrorKind::kBadInput);
  EXPECT_EQ(thrown.message, "ranks 0 1: broken");
}

TEST(Together, EveryKindKeepsItsExitCode) {
  for (const ErrorKind kind :
       {ErrorKind::kUsage, ErrorKind::kBadInput, ErrorKind::kMissingInput, ErrorKind::kUnavailable,
        ErrorKind::kInternal, ErrorKind::kCannotCreate, ErrorKind::kIo, ErrorKind::kStoppedEarly,
        ErrorKind::kNoPermission, ErrorKind::kBadRecipe, ErrorKind::kNumerical}) {
    const Thrown thrown = agreed(2, [&](int rank) {
      if (rank == 1) core::fail(kind, {.what = "x"});
    });
    EXPECT_EQ(thrown.kind, kind);
  }
}

TEST(Together, ExceptionsThatAreNoErrorsAreInternal) {
  const auto thrown_for = [](const std::function<void()>& action) {
    return agreed(2, [&](int rank) {
      if (rank == 1) action();
    });
  };
  const Thrown memory = thrown_for([] { throw std::bad_alloc(); });
  EXPECT_EQ(memory.kind, ErrorKind::kInternal);
  EXPECT_EQ(memory.message, "rank 1: out of memory");
  const Thrown logic = thrown_for([] { throw std::out_of_range("index 7"); });
  EXPECT_EQ(logic.kind, ErrorKind::kInternal);
  EXPECT_EQ(logic.message, "rank 1: index 7");
  const Thrown other = thrown_for([] { throw 7; });
  EXPECT_EQ(other.kind, ErrorKind::kInternal);
  EXPECT_EQ(other.message, "rank 1: an exception of another kind");
  EXPECT_EQ(thrown_for([] { throw std::runtime_error(""); }).message, "rank 1: ");
}

TEST(Together, AnAgreedErrorFromWithinIsAgreedOnAgain) {
  const Thrown thrown = agreed(2, [](int rank) {
    if (rank == 1) throw AgreedError(ErrorKind::kIo, {.what = "x", .where = "rank 0"});
  });
  EXPECT_EQ(thrown.message, "rank 1: rank 0: x");
}

TEST(Together, ALostPeerIsNotTalkedOver) {
  Communicator solo(make_solo());
  const auto lose = [] { core::fail(ErrorKind::kPeerLost, {.what = "rank 1 is gone"}); };
  try {
    together(solo, lose);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const AgreedError&) {
    ADD_FAILURE() << "it was agreed on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
    EXPECT_STREQ(error.what(), "rank 1 is gone");
  }
  // The others wait for a rank that has left, which their backend tells them.
  try {
    run_ranks(3, [&](Communicator& comm) {
      together(comm, [&] {
        if (comm.rank() == 2) lose();
      });
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
  }
}

TEST(Together, AnyTextArrivesOrIsEscapedLikeThatOfAnyError) {
  const Texts texts{"'a' \"b\" \\c",
                    "one\ntwo",
                    "caf\xc3\xa9 \xe2\x82\xac",
                    "cut \xe2\x82",
                    "\xff\xfe",
                    text_with_zeros(),
                    "{\"kind\": 0}",
                    "\x1b[2J\r\t\x7f",
                    "\xed\xa0\x80",
                    std::string(1, 0),
                    std::string(50'000, 'x'),
                    std::string(30'000, '\n')};
  for (const std::string& text : texts) {
    const ErrorDetail detail{
        .what = text, .where = text, .got = text, .expected = text, .hint = text};
    const Thrown alike = agreed(2, [&](int) { core::fail(ErrorKind::kBadInput, detail); });
    EXPECT_EQ(alike.message, Error(ErrorKind::kBadInput, detail).what());
    const Thrown one = agreed(2, [&](int rank) {
      if (rank == 1) core::fail(ErrorKind::kBadInput, {.what = text});
    });
    EXPECT_EQ(one.message, "rank 1: " + std::string(Error(ErrorKind::kIo, {.what = text}).what()));
    agreed(2, [&](int rank) {
      if (rank == 0) throw std::runtime_error(text);
    });
  }
}

TEST(Together, ARunGoesOnAfterAnErrorThatIsDealtWith) {
  run_ranks(3, [](Communicator& comm) {
    for (int round = 0; round < 6; ++round) {
      std::string message;
      try {
        together(comm, [&] {
          if (round % 3 == comm.rank()) core::fail(ErrorKind::kIo, {.what = "x"});
        });
      } catch (const AgreedError& error) {
        message = error.what();
      }
      EXPECT_EQ(message, "rank " + std::to_string(round % 3) + ": x");
    }
  });
}

TEST(OnFirst, OnlyRank0WorksAndItsErrorIsThrownByAllWithoutARank) {
  run_ranks(3, [](Communicator& comm) {
    bool worked = false;
    on_first(comm, [&] { worked = true; });
    EXPECT_EQ(worked, comm.rank() == 0);
    try {
      on_first(comm,
               [] { core::fail(ErrorKind::kCannotCreate, {.what = "not empty", .where = "out"}); });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCannotCreate);
      EXPECT_EQ(error.detail().where, "out");
    }
    comm.barrier();
  });
}

}  // namespace
}  // namespace hone::parallel
