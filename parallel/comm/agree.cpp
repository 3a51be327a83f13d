#include "parallel/comm/agree.h"

#include <algorithm>
#include <exception>
#include <new>

#include "core/json.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::Json;

std::string to_text(const core::Error& error) {
  const core::ErrorDetail& d = error.detail();
  const Json json{{"kind", error.exit_code()}, {"what", d.what}, {"where", d.where}, {"got", d.got},
                  {"expected", d.expected},    {"hint", d.hint}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const core::Error& error) {
    if (error.kind() == ErrorKind::kPeerLost) throw;
    return to_text(error);
  } catch (const std::bad_alloc&) {
    return to_text(core::Error(ErrorKind::kInternal, {.what = "out of memory"}));
  } catch (const std::exception& error) {
    return to_text(core::Error(ErrorKind::kInternal, {.what = error.what()}));
  } catch (...) {
    return to_text(core::Error(ErrorKind::kInternal, {.what = "an exception of another kind"}));
  }
}

std::string ranks_text(const std::vector<std::string>& failures) {
  std::string text;
  for (size_t rank = 0; rank < failures.size(); ++rank) {
    if (failures[rank].empty()) continue;
    text += (text.empty() ? "" : " ") + std::to_string(rank);
  }
  return (text.find(' ') == std::string::npos ? "rank " : "ranks ") + text;
}

// `ranks` names those it happened to; "" where that is no news.
[[noreturn]] void throw_agreed(const std::string& failure, const std::string& ranks) {
  const Json json = Json::parse(failure);
  core::ErrorDetail detail{
      .what = json.at("what"),
      .where = json.at("where"),
      .got = json.at("got"),
      .expected = json.at("expected"),
      .hint = json.at("hint"),
  };
  if (!ranks.empty()) detail.where = ranks + (detail.where.empty() ? "" : ": " + detail.where);
  throw AgreedError(static_cast<ErrorKind>(json.at("kind").get<int>()), std::move(detail));
}

}  // namespace

std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine) {
  std::vector<int64_t> sizes(static_cast<size_t>(comm.size()));
  const auto size = static_cast<int64_t>(mine.size());
  comm.all_gather(&size, sizes.data(), 1, DType::kInt64);
  std::string all(static_cast<size_t>(total(sizes)), '\0');
  comm.all_gather(mine.data(), all.data(), sizes, DType::kUInt8);
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const int64_t count : sizes) {
    texts.push_back(all.substr(begin, static_cast<size_t>(count)));
    begin += static_cast<size_t>(count);
  }
  return texts;
}

std::string text_of_first(Communicator& comm, const std::string& mine) {
  auto size = static_cast<int64_t>(mine.size());
  comm.broadcast(&size, 1, DType::kInt64, 0);
  std::string text = mine;
  text.resize(static_cast<size_t>(size));
  comm.broadcast(text.data(), size, DType::kUInt8, 0);
  return text;
}

void together(Communicator& comm, const std::function<void()>& work) {
  const std::vector<std::string> failures = gather_texts(comm, failure_of(work));
  const auto first = std::ranges::find_if(failures, [](const auto& f) { return !f.empty(); });
  if (first == failures.end()) return;
  const bool alike = std::ranges::all_of(failures, [&](const auto& f) { return f == *first; });
  throw_agreed(*first, alike ? "" : ranks_text(failures));
}

void on_first(Communicator& comm, const std::function<void()>& work) {
  const std::string failure = text_of_first(comm, comm.rank() == 0 ? failure_of(work) : "");
  if (!failure.empty()) throw_agreed(failure, "");
}

}  // namespace hone::parallel
