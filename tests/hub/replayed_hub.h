// A hub and its store of large files that answer as a recording of tests/golden/hub/exchanges says.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "hub/http.h"
#include "tests/hub/scripted_server.h"
#include "tests/hub/support.h"
#include "tests/support/paths.h"

namespace hone::hub {

class ReplayedHub {
 public:
  inline static const std::string kToken = "hf_" + std::string(34, 'T');

  explicit ReplayedHub(const std::string& scenario)
      : recording_(core::read_json_file(std::filesystem::path(test::kSourceDir) /
                                        "tests/golden/hub/exchanges" / (scenario + ".json"))) {
    std::map<std::pair<std::string, std::string>, std::vector<Reply>> of_hub, of_storage;
    for (const core::Json& exchange : recording_["exchanges"]) {
      auto& replies = exchange["server"] == "hub" ? of_hub : of_storage;
      replies[{exchange["method"], live(exchange["target"])}].push_back(reply_of(exchange));
    }
    for (auto& [request, replies] : of_hub) hub.on(request.first, request.second, replies);
    for (auto& [request, replies] : of_storage) storage.on(request.first, request.second, replies);
  }

  std::string id() const { return recording_["id"]; }
  const core::Json& exchanges() const { return recording_["exchanges"]; }
  // The one exchange of a method and a target that holds `part`.
  core::Json find(const std::string& method, const std::string& part) const {
    for (const core::Json& exchange : exchanges()) {
      if (exchange["method"] == method &&
          exchange["target"].get<std::string>().find(part) != std::string::npos) {
        return exchange;
      }
    }
    ADD_FAILURE() << "no " << method << " " << part << " in the recording";
    return {};
  }
  std::string target(const std::string& method, const std::string& part) const {
    return find(method, part)["target"];
  }
  Reply reply(const std::string& method, const std::string& part) const {
    return reply_of(find(method, part));
  }

  // The folder that was pushed or pulled.
  void write_folder(const std::filesystem::path& folder) const {
    for (const auto& [name, text] : recording_["folder"].items()) write_text(folder / name, text);
  }

  // Pauses are not waited for.
  HttpClient client(const std::string& token = kToken) const {
    return HttpClient({.endpoint = hub.url(),
                       .token = token,
                       .stall_timeout = std::chrono::seconds(2),
                       .sleep = [](std::chrono::milliseconds) {}});
  }

  // Placeholders to addresses, and back.
  std::string live(const std::string& text) const {
    return replaced(text, {{"$HUB", hub.url()}, {"$STORAGE", storage.url()}, {"$TOKEN", kToken}});
  }
  std::string plain(const std::string& text) const {
    return replaced(text, {{hub.url(), "$HUB"}, {storage.url(), "$STORAGE"}, {kToken, "$TOKEN"}});
  }

  ScriptedServer hub, storage;

 private:
  Reply reply_of(const core::Json& exchange) const {
    const core::Json& recorded = exchange["reply"];
    Reply reply{.status = recorded["status"], .body = live(recorded["body"])};
    for (const auto& [name, value] : recorded["headers"].items())
      reply.headers.emplace_back(name, live(value));
    return reply;
  }
  static std::string replaced(std::string text,
                              const std::vector<std::pair<std::string, std::string>>& pairs) {
    for (const auto& [from, to] : pairs) {
      for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
        text.replace(at, from.size(), to);
        at += to.size();
      }
    }
    return text;
  }

  core::Json recording_;
};

}  // namespace hone::hub
