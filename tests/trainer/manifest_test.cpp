#include "trainer/manifest.h"

#include <gtest/gtest.h>

#include <map>

#include "core/hash.h"
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

TEST_F(ManifestTest, MissingFolderIsMissingInput) {
  expect_failure([&] { list_sizes(folder_ / "none"); }, ErrorKind::kMissingInput, {"none"});
}

// Hashing split over parts, with chunks of 100 bytes. Chunks 0 to 2 are those of a.bin (the last of
// 50 bytes), 3 is exact.bin, 4 and 5 are state/b.bin; empty.bin has none.
class ManifestShares : public ::testing::Test {
 protected:
  static constexpr uint64_t kChunk = 100;
  static constexpr int64_t kNumChunks = 6;

  void SetUp() override {
    for (const auto& [path, size] : std::map<std::string, int>{
             {"a.bin", 250}, {"empty.bin", 0}, {"exact.bin", 100}, {"state/b.bin", 101}}) {
      std::string bytes;
      for (int i = 0; i < size; ++i) bytes += static_cast<char>(i * 7 + size);
      write_text(folder_ / path, bytes);
    }
    write_text(folder_ / kManifestName, "is not hashed");
    manifest_.files = list_files(folder_.path(), kChunk);
  }
  std::vector<std::vector<std::string>> shares_of(int64_t num_parts) {
    std::vector<std::vector<std::string>> shares;
    for (int64_t part = 0; part < num_parts; ++part) {
      shares.push_back(hash_share(folder_.path(), manifest_.files, part, num_parts, kChunk));
    }
    return shares;
  }
  void verify(int64_t part, int64_t num_parts) {
    verify_share(folder_.path(), manifest_, part, num_parts, kChunk);
  }

  TempFolder folder_;
  Manifest manifest_;
};

TEST_F(ManifestShares, ListHasTheHashOfEachChunkOfEachFile) {
  const std::string bytes = slurp(folder_ / "a.bin");
  ASSERT_EQ(manifest_.files.size(), 4u);
  EXPECT_EQ(manifest_.files[0].chunk_sha256, (std::vector{core::sha256_hex(bytes.substr(0, 100)),
                                                          core::sha256_hex(bytes.substr(100, 100)),
                                                          core::sha256_hex(bytes.substr(200))}));
  EXPECT_EQ(manifest_.files[1].chunk_sha256.size(), 0u);
  EXPECT_EQ(manifest_.files[2].chunk_sha256, std::vector{core::sha256_file(folder_ / "exact.bin")});
  EXPECT_EQ(manifest_.files[3].chunk_sha256.size(), 2u);
}

TEST_F(ManifestShares, SizesAreThoseOfTheListWithoutHashes) {
  const auto sizes = list_sizes(folder_.path());
  ASSERT_EQ(sizes.size(), manifest_.files.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_EQ(sizes[i].path, manifest_.files[i].path);
    EXPECT_EQ(sizes[i].num_bytes, manifest_.files[i].num_bytes);
    EXPECT_TRUE(sizes[i].chunk_sha256.empty());
  }
}

TEST_F(ManifestShares, JoinToTheListWhateverTheirNumber) {
  for (const int64_t num_parts : {1, 2, 3, 7}) {
    auto files = list_sizes(folder_.path());
    join_hashes(files, shares_of(num_parts), kChunk);
    for (size_t i = 0; i < files.size(); ++i) {
      EXPECT_EQ(files[i].chunk_sha256, manifest_.files[i].chunk_sha256)
          << files[i].path << " of " << num_parts << " parts";
    }
  }
}

TEST_F(ManifestShares, AreOfEqualSizeAlsoWhereFilesAreNot) {
  const auto shares = shares_of(4);
  EXPECT_EQ(shares[0].size(), 2u);
  EXPECT_EQ(shares[1].size(), 2u);
  EXPECT_EQ(shares[2].size(), 1u);
  EXPECT_EQ(shares[3].size(), 1u);
}

TEST_F(ManifestShares, ShareWithAnotherNumberOfHashesIsRefused) {
  auto files = list_sizes(folder_.path());
  const auto expect_refused = [&](const std::vector<std::vector<std::string>>& shares,
                                  const std::vector<std::string>& parts) {
    expect_failure([&] { join_hashes(files, shares, kChunk); }, ErrorKind::kInternal, parts);
  };
  auto shares = shares_of(2);
  shares[1].pop_back();
  expect_refused(shares, {"part 1", "got 2", "expected 3"});
  shares = shares_of(2);
  shares[0].push_back(shares[0][0]);
  expect_refused(shares, {"part 0", "got 4", "expected 3"});
  expect_refused({}, {"no such part"});
  expect_failure([&] { hash_share(folder_.path(), files, 2, 2, kChunk); }, ErrorKind::kInternal,
                 {"no such part"});
}

TEST_F(ManifestShares, FlippedByteIsFoundByThePartThatOwnsItsChunkAlone) {
  const struct {
    std::string path;
    size_t byte;
    int64_t chunk;
    std::string range;
  } flips[] = {{"a.bin", 0, 0, "bytes 0 to 100"},
               {"a.bin", 199, 1, "bytes 100 to 200"},
               {"a.bin", 249, 2, "bytes 200 to 250"},
               {"exact.bin", 50, 3, "bytes 0 to 100"},
               {"state/b.bin", 100, 5, "bytes 100 to 101"}};
  for (const auto& flip : flips) {
    const std::string good = slurp(folder_ / flip.path);
    std::string bad = good;
    bad[flip.byte] ^= 1;
    write_text(folder_ / flip.path, bad);
    for (const int64_t num_parts : {1, 2, 3, 7}) {
      for (int64_t part = 0; part < num_parts; ++part) {
        if (flip.chunk % num_parts == part) {
          expect_failure([&] { verify(part, num_parts); }, ErrorKind::kBadInput,
                         {flip.path, flip.range});
        } else {
          EXPECT_NO_THROW(verify(part, num_parts)) << flip.path << " " << part;
        }
      }
    }
    write_text(folder_ / flip.path, good);
  }
}

TEST_F(ManifestShares, MissingFileAndWrongSizeAreFoundByAllParts) {
  fs::resize_file(folder_ / "state/b.bin", 102);
  for (int64_t part = 0; part < kNumChunks + 1; ++part) {
    expect_failure([&] { verify(part, kNumChunks + 1); }, ErrorKind::kBadInput,
                   {"state/b.bin", "102 bytes", "101"});
  }
  fs::remove(folder_ / "empty.bin");
  for (int64_t part = 0; part < kNumChunks + 1; ++part) {
    expect_failure([&] { verify(part, kNumChunks + 1); }, ErrorKind::kBadInput,
                   {"empty.bin", "missing"});
  }
}

TEST_F(ManifestShares, FileThatShrinksWhileItIsHashedIsAnIoError) {
  const auto files = list_sizes(folder_.path());
  fs::resize_file(folder_ / "a.bin", 249);
  expect_failure([&] { hash_share(folder_.path(), files, 0, 1, kChunk); }, ErrorKind::kIo,
                 {"a.bin", "shorter"});
}

}  // namespace
}  // namespace hone::trainer
