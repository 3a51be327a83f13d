#include "trainer/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hone::trainer {
namespace {

TEST(StopSignals, EachSignalIsNotedAndTheFirstIsNamed) {
  for (const int number : {SIGTERM, SIGUSR1, SIGINT}) {
    StopSignals signals;
    EXPECT_FALSE(signals.requested());
    ::raise(number);
    EXPECT_TRUE(signals.requested());
    ::raise(SIGTERM);
    EXPECT_EQ(signals.number(), number);
  }
}

TEST(StopSignals, NewObjectForgetsAnEarlierSignal) {
  {
    StopSignals signals;
    ::raise(SIGTERM);
  }
  StopSignals signals;
  EXPECT_FALSE(signals.requested());
}

TEST(StopSignals, EarlierHandlersComeBack) {
  struct sigaction before {
  }, after{};
  ::sigaction(SIGUSR1, nullptr, &before);
  { StopSignals signals; }
  ::sigaction(SIGUSR1, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

int exit_code_of(void (*child)()) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    child();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(StopSignals, SecondInterruptExitsAtOnceWith130) {
  EXPECT_EQ(exit_code_of([] {
              StopSignals signals;
              ::raise(SIGINT);
              ::raise(SIGINT);
            }),
            130);
}

TEST(StopSignals, RepeatedTerminationRequestsDoNotKill) {
  EXPECT_EQ(exit_code_of([] {
              StopSignals signals;
              ::raise(SIGTERM);
              ::raise(SIGTERM);
              ::raise(SIGINT);
            }),
            0);
}

}  // namespace
}  // namespace hone::trainer
