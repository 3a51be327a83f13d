#!/usr/bin/env python3
"""Records what huggingface_hub sends: exchanges/*.json, one file a scenario. See ../README.md."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
home = tempfile.mkdtemp(prefix="hone-record-")
os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": home, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(name, None)

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from hub_server import TOKEN, Hub, sha256

ID = "ada/tiny"
FILES = {
    "config.json": '{"model_type": "llama", "name": "tiny \u2603"}\n',
    "model.safetensors": "w" * 2500,
    "tokenizer.json": "{}\n",
    "merges.txt": "",
}
REQUEST_HEADERS = ("Authorization", "Content-Type", "Accept", "Accept-Encoding", "Range", "Content-Length", "Transfer-Encoding")
DROPPED_REPLY_HEADERS = ("Content-Length",)


class Recorder:
    """A hub, a client, and the exchanges between them while `on`."""

    def __init__(self, scenario, **options):
        self.scenario, self.exchanges, self.on = scenario, [], True
        self.hub = Hub(exchange=self.keep, **options)
        self.api = HfApi(endpoint=self.hub.url, token=TOKEN)

    def plain(self, text):
        for address, name in ((self.hub.url, "$HUB"), (self.hub.storage, "$STORAGE"), (TOKEN, "$TOKEN")):
            text = text.replace(address, name)
        return text

    def keep(self, server, method, target, headers, body, status, reply_headers, reply):
        if not self.on:
            return
        sent = {name: self.plain(headers[name]) for name in REQUEST_HEADERS if headers[name] is not None}
        got = {name: self.plain(value) for name, value in reply_headers.items() if name not in DROPPED_REPLY_HEADERS}
        exchange = {"server": server, "method": method, "target": target}
        exchange |= {"request": {"headers": sent, "body": self.plain(body.decode())}}
        exchange |= {"reply": {"status": status, "headers": got, "body": self.plain(reply.decode())}}
        self.exchanges.append(exchange)

    def quietly(self, action):
        self.on, was = False, self.on
        result = action()
        self.on = was
        return result

    def write(self, files=None):
        self.hub.close()
        result = {"scenario": self.scenario, "client": f"huggingface_hub {huggingface_hub.__version__}", "id": ID}
        if files is not None:
            result["folder"] = files
        result["exchanges"] = self.exchanges
        path = HERE / "exchanges" / f"{self.scenario}.json"
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: {len(self.exchanges)} exchanges")


def additions(files):
    return [CommitOperationAdd(path, text.encode()) for path, text in sorted(files.items())]


def whoami():
    recorder = Recorder("whoami")
    recorder.api.whoami()
    recorder.write()


def create_repo():
    recorder = Recorder("create_repo")
    recorder.api.create_repo(ID, private=True, exist_ok=True, repo_type="model")
    recorder.api.create_repo(ID, private=True, exist_ok=True, repo_type="model")
    recorder.api.create_repo(ID, private=False, exist_ok=True, repo_type="dataset")
    recorder.write()


def push(scenario, seed=None, tag=None, branch="main", create_pr=False, objects=(), **options):
    """The calls of a push, in an order that asks everything before it changes anything."""
    recorder = Recorder(scenario, **options)
    api = recorder.api
    if seed is not None:
        recorder.quietly(lambda: api.create_repo(ID, private=True, repo_type="model"))
        recorder.quietly(lambda: api.create_commit(ID, additions(seed), commit_message="Before"))
    for text in objects:
        recorder.hub.objects[sha256(text.encode())] = text.encode()
    if not create_pr:
        api.create_repo(ID, private=True, exist_ok=True, repo_type="model")
    if branch != "main":
        api.create_branch(ID, branch=branch, exist_ok=True)
    head = api.repo_info(ID, revision=branch).sha
    if tag:
        api.list_repo_refs(ID)
    stale = sorted(
        entry.path
        for entry in api.list_repo_tree(ID, recursive=True, revision=head)
        if entry.path.endswith(".safetensors") and entry.path not in FILES
    )
    operations = additions(FILES) + [CommitOperationDelete(path, is_folder=False) for path in stale]
    commit = api.create_commit(
        ID,
        operations,
        commit_message="Fine-tune",
        revision=branch,
        parent_commit=head,
        create_pr=create_pr,
        num_threads=1,
    )
    if tag:
        api.create_tag(ID, tag=tag, tag_message="Fine-tune", revision=commit.oid)
    recorder.write(FILES)


def pull():
    recorder = Recorder("pull", page_size=2)
    api = recorder.api
    recorder.quietly(lambda: api.create_repo(ID, private=True, repo_type="model"))
    recorder.quietly(lambda: api.create_commit(ID, additions(FILES), commit_message="Before"))
    head = api.repo_info(ID, revision="main").sha
    list(api.list_repo_tree(ID, recursive=True, revision=head))
    options = {"endpoint": recorder.hub.url, "token": TOKEN, "revision": head}
    for name in sorted(FILES):
        hf_hub_download(ID, name, **options)
    try:
        hf_hub_download(ID, "absent.json", **options)
    except EntryNotFoundError:
        pass
    recorder.write(FILES)


def main():
    (HERE / "exchanges").mkdir(exist_ok=True)
    whoami()
    create_repo()
    push("push_new", tag="v1")
    push("push_multipart", part_size=1000)
    push("push_again", seed={"config.json": FILES["config.json"], "old.safetensors": "old"})
    push("push_unchanged", seed=FILES)
    push("push_resumed", seed={}, objects=[FILES["model.safetensors"]])
    push("push_branch", seed={"config.json": "{}"}, branch="feature/x")
    push("push_pull_request", seed={"config.json": "{}"}, create_pr=True)
    pull()
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
