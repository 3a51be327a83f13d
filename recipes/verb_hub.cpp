#include <cstdio>
#include <ctime>
#include <filesystem>

#include "core/text.h"
#include "hub/verbs.h"
#include "recipes/hub_access.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

std::string date_text(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &utc);
  return text;
}

std::string short_id(const std::string& commit) {
  return commit.empty() ? "-" : commit.substr(0, 12);
}

uint64_t total_size(const std::vector<hub::PushedFile>& files) {
  uint64_t bytes = 0;
  for (const hub::PushedFile& file : files) bytes += file.size;
  return bytes;
}

std::string size_text(uint64_t bytes) { return core::format_bytes(static_cast<double>(bytes)); }

struct PushArguments {
  std::string folder, id, endpoint, message, tag, branch = "main";
  bool is_public = false, is_dataset = false, create_pr = false;
};

int push(const PushArguments& a) {
  hub::PushOptions options{.message = a.message,
                           .tag = a.tag,
                           .branch = a.branch,
                           .create_pr = a.create_pr,
                           .is_private = !a.is_public,
                           .also_allow = {"*.gguf"}};
  if (a.is_dataset) {
    options.kind = hub::RepoKind::kDataset;
    options.also_allow = {"*.jsonl", "*.json", "*.csv", "*.parquet", "*.txt", "*.zst", "*.gz"};
  }
  const hub::PushResult result = hub::publish(a.endpoint, a.id, a.folder, options);
  for (const hub::PushedFile& file : result.files) {
    std::printf("  %-40s %s\n", file.path.c_str(), size_text(file.size).c_str());
  }
  for (const std::string& name : result.removed) std::printf("  %-40s removed\n", name.c_str());
  std::printf("%s@%s: %s%zu files, %s, in %s\n", result.repo_id.c_str(),
              short_id(result.commit).c_str(), result.changed ? "" : "nothing new; ",
              result.files.size(), size_text(total_size(result.files)).c_str(),
              result.place.c_str());
  if (result.sent_bytes > 0) std::printf("%s sent\n", size_text(result.sent_bytes).c_str());
  if (!result.pull_request.empty()) std::printf("%s\n", result.pull_request.c_str());
  return 0;
}

struct PullArguments {
  std::string id, output, endpoint;
  bool is_dataset = false, verify = false;
};

int pull(const PullArguments& a) {
  hub::ResolveOptions options = hub_access(a.endpoint);
  const bool is_url = a.endpoint.starts_with("http://") || a.endpoint.starts_with("https://");
  options.pull.verify = a.verify;
  if (!a.is_dataset) options.select = hub::select_model_files(hub::ModelPart::kAll);
  const hub::PullResult result =
      hub::pull(a.id, a.output, a.is_dataset ? hub::RepoKind::kDataset : hub::RepoKind::kModel,
                options, is_url ? hub::PullFrom::kEndpoint : hub::PullFrom::kNearest);
  const std::string at = result.commit.empty() ? "" : " at " + short_id(result.commit);
  std::fprintf(stderr, "%s%s: %zu files, %s, from the %s", a.id.c_str(), at.c_str(),
               result.files.size(), size_text(total_size(result.files)).c_str(),
               std::string(hub::to_string(result.origin)).c_str());
  if (result.origin == hub::Origin::kEndpoint) {
    std::fprintf(stderr, " (%s downloaded)", size_text(result.downloaded_bytes).c_str());
  }
  std::fprintf(stderr, "\n");
  std::printf("%s\n", result.folder.c_str());
  return 0;
}

int list(const std::string& id) {
  const hub::LocalStore store = hub::LocalStore::at_endpoint("");
  const hub::HubListing listing = hub::list_hub(store, id);
  if (!id.empty()) {
    for (const hub::FileEntry& file : listing.files)
      std::printf("%10s  %s\n", size_text(file.size).c_str(), file.path.c_str());
    return 0;
  }
  for (const hub::RepoInfo& repo : listing.models) {
    std::printf("%-48s %-12s %s\n", repo.id.c_str(), short_id(repo.head).c_str(),
                date_text(repo.updated).c_str());
  }
  for (const hub::RepoInfo& repo : listing.datasets) {
    std::printf("%-48s %-12s %s  dataset\n", repo.id.c_str(), short_id(repo.head).c_str(),
                date_text(repo.updated).c_str());
  }
  if (listing.models.empty() && listing.datasets.empty()) {
    std::fprintf(stderr, "no repository in %s yet\n", store.root().c_str());
  }
  return 0;
}

int history(const std::string& id, size_t limit) {
  const hub::LocalStore store = hub::LocalStore::at_endpoint("");
  for (const hub::HistoryEntry& entry : hub::list_history(store, id, limit)) {
    std::vector<std::string> names = entry.branches;
    names.insert(names.end(), entry.tags.begin(), entry.tags.end());
    std::printf("%s  %s  %s%s\n", short_id(entry.commit.id).c_str(),
                date_text(entry.commit.time).c_str(), entry.commit.title.c_str(),
                names.empty() ? "" : ("  (" + core::join(names, ", ") + ")").c_str());
  }
  return 0;
}

int users(const std::string& added) {
  hub::LocalStore store = hub::LocalStore::at_endpoint("");
  if (!added.empty()) {
    std::printf("%s\n", store.add_user(added) ? ("added " + added).c_str()
                                              : (added + " is there already").c_str());
    return 0;
  }
  for (const hub::UserInfo& user : store.users()) {
    std::printf("%-32s since %s\n", user.name.c_str(), date_text(user.created).c_str());
  }
  return 0;
}

}  // namespace

void add_push(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<PushArguments>();
  CLI::App* verb = app.add_subcommand("push", "Publish a folder as one commit of a hub repository");
  verb->add_option("folder", a->folder, "Folder in Hugging Face layout")->required();
  verb->add_option("id", a->id, "Repository, owner/name")->required();
  verb->add_option("--message", a->message, "Commit message");
  verb->add_option("--tag", a->tag, "Tag the commit");
  verb->add_option("--branch", a->branch, "Branch to push to; made from main if it is not there")
      ->capture_default_str();
  verb->add_option("--endpoint", a->endpoint,
                   "URL of a hub, or folder of a local store; default: HF_ENDPOINT, else the local "
                   "store");
  verb->add_flag("--public", a->is_public, "Make a new repository public");
  verb->add_flag("--create-pr", a->create_pr, "Open a pull request instead (hubs over HTTP)");
  verb->add_flag("--dataset", a->is_dataset, "Push a dataset: data files are published too");
  verb->callback([&chosen, a] { chosen = [a] { return push(*a); }; });
}

void add_pull(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<PullArguments>();
  CLI::App* verb = app.add_subcommand(
      "pull", "Get the folder of a model or dataset, from a hub if need be: prints where it is");
  verb->add_option("id", a->id, "ID or ID@REVISION")->required();
  verb->add_option("--output", a->output, "Write files of your own into this new or empty folder");
  verb->add_option("--endpoint", a->endpoint,
                   "Hub to ask (a URL), or the folder of a local store; default: HF_ENDPOINT");
  verb->add_flag("--dataset", a->is_dataset, "The id is that of a dataset");
  verb->add_flag("--verify", a->verify, "Hash what the cache holds already too, and mend it");
  verb->callback([&chosen, a] { chosen = [a] { return pull(*a); }; });
}

void add_hub(CLI::App& app, Action& chosen) {
  CLI::App* group = app.add_subcommand("hub", "Look into the local hub");
  group->require_subcommand(1);
  auto id = std::make_shared<std::string>();
  CLI::App* ls = group->add_subcommand("ls", "Repositories, or the files of one");
  ls->add_option("id", *id, "ID or ID@REVISION");
  ls->callback([&chosen, id] { chosen = [id] { return list(*id); }; });

  auto limit = std::make_shared<size_t>(50);
  CLI::App* log = group->add_subcommand("history", "Commits of a repository, newest first");
  log->add_option("id", *id, "ID or ID@REVISION")->required();
  log->add_option("--limit", *limit, "At most this many")->capture_default_str();
  log->callback([&chosen, id, limit] { chosen = [id, limit] { return history(*id, *limit); }; });

  auto name = std::make_shared<std::string>();
  CLI::App* user = group->add_subcommand("user", "Users of the hub; adds one when a name is given");
  user->add_option("name", *name, "User to add");
  user->callback([&chosen, name] { chosen = [name] { return users(*name); }; });
}

}  // namespace hone::recipes
