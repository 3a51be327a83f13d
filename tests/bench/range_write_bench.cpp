// range_write_bench [--folder F] [--megabytes N] [--writers K] [--rounds R]: MB/s at which K ranks
// (threads here) write one safetensors file of N MB together and sync it, and read it back, each
// its own part of every tensor; next to dd with 16 MiB blocks on as many bytes in the same folder,
// in the same round. Reads are cold (the file's pages dropped, as far as the system lets them be)
// and warm. dd reads into one small buffer, the ranks into memory of the file's size: a plain copy
// of as many bytes by the ranks tells what that memory takes. What is read is compared with what
// was written.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "core/temporary_folder.h"
#include "formats/safetensors_ranges.h"

namespace {

using namespace hone;  // NOLINT
using formats::SafetensorsPlan;
using formats::TensorEntry;
using Bytes = std::vector<std::byte>;
namespace fs = std::filesystem;

struct Options {
  fs::path folder = ".";
  uint64_t megabytes = 1024, writers = 2;
  int rounds = 5;
};

[[noreturn]] void give_up(const std::string& why) { throw std::runtime_error(why); }

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (key == "--folder") {
      options.folder = value;
      continue;
    }
    const long number = std::atol(value.c_str());
    if (number < 1) give_up("needs a number above 0: " + key);
    if (key == "--megabytes") {
      options.megabytes = static_cast<uint64_t>(number);
    } else if (key == "--writers") {
      options.writers = static_cast<uint64_t>(number);
    } else if (key == "--rounds") {
      options.rounds = static_cast<int>(number);
    } else {
      give_up("unknown option " + key);
    }
  }
  return options;
}

// Tensors of 32 MB and a last one with the rest.
SafetensorsPlan plan_of(uint64_t megabytes) {
  constexpr int64_t kTensorBytes = 32'000'000;
  std::vector<formats::TensorSpec> tensors;
  for (auto left = static_cast<int64_t>(megabytes) * 1'000'000; left > 0; left -= kTensorBytes) {
    tensors.push_back({"layers." + std::to_string(tensors.size()) + ".weight",
                       formats::Dtype::kF32,
                       {std::min(left, kTensorBytes) / 4}});
  }
  return formats::plan_safetensors(tensors);
}

Bytes random_bytes(uint64_t size) {
  Bytes bytes((size + 7) / 8 * 8);
  uint64_t state = 1;
  for (size_t i = 0; i < bytes.size(); i += 8) {
    state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    std::memcpy(&bytes[i], &state, 8);
  }
  return bytes;
}

double megabytes_per_second(uint64_t bytes, const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(bytes) / 1e6 / took.count();
}

// Calls `with` for this rank's part of each tensor: its offset in the tensor and its size.
void each_part(const SafetensorsPlan& plan, uint64_t rank, uint64_t num_ranks,
               const std::function<void(const TensorEntry&, uint64_t, uint64_t)>& with) {
  for (const TensorEntry& tensor : plan.tensors) {
    const uint64_t begin = tensor.num_bytes() * rank / num_ranks;
    with(tensor, begin, tensor.num_bytes() * (rank + 1) / num_ranks - begin);
  }
}

void on_ranks(uint64_t num_ranks, const std::function<void(uint64_t)>& rank_main) {
  std::vector<std::jthread> threads;
  for (uint64_t rank = 0; rank < num_ranks; ++rank) threads.emplace_back(rank_main, rank);
}

// `image` is the whole file.
void write_ranges(const fs::path& path, const SafetensorsPlan& plan, const Bytes& image,
                  uint64_t num_ranks) {
  formats::create_planned_file(path, plan);
  on_ranks(num_ranks, [&](uint64_t rank) {
    formats::RangeWriter writer(path, plan);
    each_part(plan, rank, num_ranks, [&](const TensorEntry& t, uint64_t offset, uint64_t size) {
      writer.write(t.name, offset, std::span(image).subspan(t.begin + offset, size));
    });
    writer.sync();
  });
}

void read_ranges(const fs::path& path, const SafetensorsPlan& plan, Bytes& image,
                 uint64_t num_ranks) {
  on_ranks(num_ranks, [&](uint64_t rank) {
    const auto file = formats::SafetensorsFile::open(path);
    each_part(plan, rank, num_ranks, [&](const TensorEntry& t, uint64_t offset, uint64_t size) {
      file.read(*file.find(t.name), offset, std::span(image).subspan(t.begin + offset, size));
    });
  });
}

void copy_ranges(const SafetensorsPlan& plan, const Bytes& from, Bytes& to, uint64_t num_ranks) {
  on_ranks(num_ranks, [&](uint64_t rank) {
    each_part(plan, rank, num_ranks, [&](const TensorEntry& t, uint64_t offset, uint64_t size) {
      std::memcpy(&to[t.begin + offset], &from[t.begin + offset], size);
    });
  });
}

void dd(std::vector<std::string> words) {
  words.insert(words.begin(), "dd");
  words.insert(words.end(), {"bs=16M", "status=none"});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  int status = 0;
  if (::posix_spawnp(&pid, "dd", nullptr, nullptr, arguments.data(), environ) != 0 ||
      ::waitpid(pid, &status, 0) != pid || status != 0) {
    give_up("dd failed");
  }
}

// Asks for the file's pages to be dropped; the share of them that is in memory after that.
double drop_pages(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor);
  const core::MappedFile file(path);
  std::vector<unsigned char> in_memory(file.bytes().size() / 4096 + 1);
  void* address = const_cast<std::byte*>(file.bytes().data());
  if (::mincore(address, file.bytes().size(), in_memory.data()) != 0) return 1;
  const auto resident =
      std::ranges::count_if(in_memory, [](unsigned char page) { return (page & 1) != 0; });
  return static_cast<double>(resident) / static_cast<double>(in_memory.size());
}

// One kind of work, by the ranks and by dd; MB/s of each round.
struct Series {
  const char* name = "";
  std::vector<double> ours, dds;
  // Which goes first changes from round to round.
  void add(uint64_t bytes, const std::function<void()>& by_ranks,
           const std::function<void()>& by_dd) {
    const bool dd_first = ours.size() % 2 == 1;
    if (dd_first) dds.push_back(megabytes_per_second(bytes, by_dd));
    ours.push_back(megabytes_per_second(bytes, by_ranks));
    if (!dd_first) dds.push_back(megabytes_per_second(bytes, by_dd));
    std::printf("%-12s ranks %7.0f MB/s   dd %7.0f MB/s   ratio %.2f\n", name, ours.back(),
                dds.back(), ours.back() / dds.back());
    std::fflush(stdout);
  }
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void print_median(const Series& series) {
  std::vector<double> ratios;
  for (size_t i = 0; i < series.ours.size(); ++i) ratios.push_back(series.ours[i] / series.dds[i]);
  std::printf("median of %zu: %-12s ranks %7.0f MB/s   dd %7.0f MB/s   ratio %.2f (%.2f to %.2f)\n",
              ratios.size(), series.name, median(series.ours), median(series.dds), median(ratios),
              std::ranges::min(ratios), std::ranges::max(ratios));
}

void bench(const Options& options) {
  const SafetensorsPlan plan = plan_of(options.megabytes);
  Bytes image = random_bytes(plan.file_bytes), back(image.size());
  std::ranges::copy(std::as_bytes(std::span(plan.header)), image.begin());
  std::ranges::copy(std::as_bytes(std::span(plan.header)), back.begin());
  const core::TemporaryFolder folder(options.folder, "range-write-bench-");
  const fs::path ours = folder.path() / "ranks.safetensors", theirs = folder.path() / "dd";
  const std::string size = std::to_string(plan.file_bytes);
  Series writing{"write"}, cold{"read, cold"}, warm{"read, warm"};
  std::vector<double> copies;
  for (int round = 0; round < options.rounds; ++round) {
    fs::remove(ours);
    fs::remove(theirs);
    core::fsync_folder(folder.path());
    writing.add(
        plan.file_bytes, [&] { write_ranges(ours, plan, image, options.writers); },
        [&] {
          dd({"if=/dev/zero", "of=" + theirs.string(), "count=" + size, "iflag=count_bytes",
              "conv=fsync"});
        });
    const auto read = [&] { read_ranges(ours, plan, back, options.writers); };
    const auto read_by_dd = [&] { dd({"if=" + theirs.string(), "of=/dev/null"}); };
    std::printf("still in memory after DONTNEED: %.0f %% of ranks' file, %.0f %% of dd's\n",
                100 * drop_pages(ours), 100 * drop_pages(theirs));
    cold.add(plan.file_bytes, read, read_by_dd);
    warm.add(plan.file_bytes, read, read_by_dd);
    if (!std::ranges::equal(std::span(back).first(plan.file_bytes),
                            std::span(image).first(plan.file_bytes))) {
      give_up("read other bytes than were written");
    }
    copies.push_back(megabytes_per_second(
        plan.file_bytes, [&] { copy_ranges(plan, image, back, options.writers); }));
    std::ranges::fill(std::span(back).subspan(plan.header.size()), std::byte{0});
  }
  for (const Series* series : {&writing, &cold, &warm}) print_median(*series);
  std::printf("median of %zu: %-12s ranks %7.0f MB/s\n", copies.size(), "plain copy",
              median(copies));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    bench(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "range_write_bench: %s\n", error.what());
    return 1;
  }
}
