#include "parallel/liveness/listener.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hone::parallel {
namespace {

std::string error_of(const ListenOptions& options) {
  try {
    const Listener listener(options);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kBadRecipe);
    return error.what();
  }
  return "";
}

TEST(Listener, APortInUseIsNamed) {
  const Listener first({.one_machine = true});
  const int port = first.endpoint().port;
  EXPECT_GT(port, 0);
  const std::string text = error_of({.port = port, .one_machine = true});
  EXPECT_NE(text.find("comm_port"), std::string::npos) << text;
  EXPECT_NE(text.find("the port is in use"), std::string::npos) << text;
  EXPECT_NE(text.find(std::to_string(port)), std::string::npos) << text;
}

TEST(Listener, APortAboveTheLastIsRefusedNotWrapped) {
  const std::string text = error_of({.port = 65536, .one_machine = true});
  EXPECT_NE(text.find("comm_port: no port is left for this rank: got 65536"), std::string::npos)
      << text;
}

TEST(Listener, AnInterfaceThatIsNotThereIsAnErrorListingThoseThatAre) {
  const std::string text = error_of({.interface = "ib77"});
  EXPECT_NE(text.find("comm_interface"), std::string::npos) << text;
  EXPECT_NE(text.find("ib77"), std::string::npos) << text;
  EXPECT_NE(text.find("lo (127.0.0.1)"), std::string::npos) << text;
}

TEST(Listener, AnInterfaceIsTakenByNameOrAddress) {
  EXPECT_EQ(Listener({.interface = "lo"}).endpoint().address, "127.0.0.1");
  EXPECT_EQ(Listener({.interface = "127.0.0.1"}).endpoint().address, "127.0.0.1");
  EXPECT_EQ(Listener({.one_machine = true}).endpoint().address, "127.0.0.1");
}

TEST(Listener, APortIsFreeAgainAsSoonAsItsListenerIsGone) {
  int port = 0;
  {
    const Listener first({.one_machine = true});
    port = first.endpoint().port;
  }
  EXPECT_EQ(Listener({.port = port, .one_machine = true}).endpoint().port, port);
}

}  // namespace
}  // namespace hone::parallel
