#include "trainer/manifest.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

using core::ErrorKind;

// A folder with a manifest of an empty, a small and a nested file.
class ManifestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_text(folder_ / "model.bin", std::string(100'000, 'w'));
    write_text(folder_ / "state/moments.bin", "0123456789");
    write_text(folder_ / "empty.txt", "");
    write_manifest(folder_.path(), {.step = 12,
                                    .layout = {.tp = 1},
                                    .identity = {{"model", "abc"}},
                                    .files = list_files(folder_.path())});
  }
  void verify() { verify_files(folder_.path(), read_manifest(folder_.path())); }

  TempFolder folder_;
};

TEST_F(ManifestTest, RoundTripsAndVerifies) {
  const Manifest manifest = read_manifest(folder_.path());
  EXPECT_EQ(manifest.step, 12);
  EXPECT_EQ(manifest.identity.at("model"), "abc");
  ASSERT_EQ(manifest.files.size(), 3u);
  EXPECT_EQ(manifest.files[0].path, "empty.txt");
  EXPECT_EQ(manifest.files[2].path, "state/moments.bin");
  EXPECT_NO_THROW(verify());
}

TEST_F(ManifestTest, FlippedByteIsNamedWithFileAndRange) {
  std::string bytes = slurp(folder_ / "model.bin");
  bytes[70'000] ^= 1;
  write_text(folder_ / "model.bin", bytes);
  expect_failure([&] { verify(); }, ErrorKind::kBadInput, {"model.bin", "bytes 0 to 100000"});
}

TEST_F(ManifestTest, TruncatedAndGrownFilesAreNamedWithSizes) {
  write_text(folder_ / "state/moments.bin", "012345678");
  expect_failure([&] { verify(); }, ErrorKind::kBadInput, {"moments.bin", "9 bytes", "10"});
  write_text(folder_ / "state/moments.bin", "0123456789a");
  expect_failure([&] { verify(); }, ErrorKind::kBadInput, {"moments.bin", "11 bytes"});
}

TEST_F(ManifestTest, MissingFileIsNamed) {
  fs::remove(folder_ / "empty.txt");
  expect_failure([&] { verify(); }, ErrorKind::kBadInput, {"empty.txt", "missing"});
}

TEST_F(ManifestTest, MissingManifestIsMissingInput) {
  fs::remove(folder_ / kManifestName);
  expect_failure([&] { verify(); }, ErrorKind::kMissingInput, {kManifestName});
}

TEST_F(ManifestTest, BadManifestsAreNamedNotTrusted) {
  const core::Json good = core::read_json_file(folder_ / kManifestName);
  const auto expect_bad = [&](const core::Json& bad, const std::string& part) {
    write_text(folder_ / kManifestName, bad.dump());
    expect_failure([&] { verify(); }, ErrorKind::kBadInput, {part});
  };
  core::Json bad = good;
  bad["format"] = "else";
  expect_bad(bad, "not the manifest");
  bad = good;
  bad["version"] = 2;
  expect_bad(bad, "another version");
  bad = good;
  bad["files"][0]["path"] = "../../etc/passwd";
  expect_bad(bad, "unsafe path");
  bad = good;
  bad["files"][1]["sha256"] = core::Json::array();
  expect_bad(bad, "number of hashes");
  bad = good;
  bad.erase("step");
  expect_bad(bad, "not a valid manifest");
  expect_bad(core::Json::array(), "not a valid manifest");
  write_text(folder_ / kManifestName, "{\"format\": ");
  expect_failure([&] { verify(); }, ErrorKind::kBadInput);
}

TEST_F(ManifestTest, LargeFilesAreHashedByChunk) {
  std::string bytes(kManifestChunkBytes + 10, 'x');
  write_text(folder_ / "large.bin", bytes);
  write_manifest(folder_.path(), {.files = list_files(folder_.path())});
  EXPECT_EQ(read_manifest(folder_.path()).files[1].chunk_sha256.size(), 2u);
  bytes.back() = 'y';
  write_text(folder_ / "large.bin", bytes);
  expect_failure([&] { verify(); }, ErrorKind::kBadInput, {"bytes 67108864 to 67108874"});
}

}  // namespace
}  // namespace hone::trainer
