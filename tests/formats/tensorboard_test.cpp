#include "formats/tensorboard.h"

#include <fstream>

#include "core/files.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"
#include "tests/formats/support.h"

namespace hone::formats {
namespace {

TEST(Crc32c, HasTheValuesOfTheStandard) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
}

TEST(Protobuf, NumbersAreEncodedAsTheSpecificationShows) {
  EXPECT_EQ(ProtobufMessage().integer(1, 150).encoded(), "\x08\x96\x01");
  EXPECT_EQ(ProtobufMessage().integer(1, -1).encoded(),
            "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  EXPECT_EQ(ProtobufMessage().bytes(2, "testing").encoded(), "\x12\x07testing");
  EXPECT_EQ(ProtobufMessage().message(3, ProtobufMessage().integer(1, 150)).encoded(),
            "\x1a\x03\x08\x96\x01");
  EXPECT_EQ(ProtobufMessage().integer(16, 1).encoded(), "\x80\x01\x01");
}

// What tensorboard 2.21's RecordWriter makes of Event(wall_time=1.5, step=3,
// summary=[train/loss 2.25]).
TEST(EventRecord, IsByteForByteTheOneTensorBoardWrites) {
  const std::vector<uint8_t> expected = {0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x29, 0xed,
                                         0xa9, 0x50, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf8,
                                         0x3f, 0x10, 0x03, 0x2a, 0x13, 0x0a, 0x11, 0x0a, 0x0a, 0x74,
                                         0x72, 0x61, 0x69, 0x6e, 0x2f, 0x6c, 0x6f, 0x73, 0x73, 0x15,
                                         0x00, 0x00, 0x10, 0x40, 0x7e, 0x61, 0xbf, 0xd1};
  EXPECT_EQ(encode_record({1.5, scalars_content(3, {{"train/loss", 2.25}})}),
            std::string(expected.begin(), expected.end()));
}

class EventFiles : public testing::Test {
 protected:
  core::TempFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "events.out.tfevents.1";
  const std::vector<TensorBoardEvent> events_ = {{1.0, file_version_content()},
                                                 {2.5, session_start_content(7)},
                                                 {3.0, scalars_content(7, {{"eval/loss", 1.0}})}};

  void write_all() const {
    EventFile file(path_);
    for (const TensorBoardEvent& event : events_) file.append(event);
  }

  size_t num_read(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary) << bytes;
    return read_event_file(path_).size();
  }
};

TEST_F(EventFiles, ReadBackWithTimesAndContent) {
  write_all();
  const auto read = read_event_file(path_);
  ASSERT_EQ(read.size(), events_.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].wall_time, events_[i].wall_time);
    EXPECT_EQ(read[i].content, events_[i].content);
  }
}

TEST_F(EventFiles, ShowEveryEventAsSoonAsItIsAppended) {
  EventFile file(path_);
  file.append(events_[0]);
  EXPECT_EQ(read_event_file(path_).size(), 1u);
  file.append(events_[1]);
  EXPECT_EQ(read_event_file(path_).size(), 2u);
}

TEST_F(EventFiles, AreReadUpToATornOrDamagedRecord) {
  write_all();
  const std::string whole = core::read_file(path_);
  const size_t first = encode_record(events_[0]).size(), second = encode_record(events_[1]).size();
  for (size_t size = 0; size <= whole.size(); ++size) {
    const size_t complete = size >= whole.size() ? 3 : size >= first + second ? 2 : size >= first;
    EXPECT_EQ(num_read(whole.substr(0, size)), complete) << size;
  }
  for (size_t at = first; at < first + second; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_EQ(num_read(damaged), 1u) << at;
  }
}

TEST_F(EventFiles, AreNeverWrittenOverAnother) {
  write_all();
  expect_failure([&] { EventFile again(path_); }, core::ErrorKind::kCannotCreate, {path_.string()});
}

}  // namespace
}  // namespace hone::formats
