"""Models and datasets pulled from an independent server into the cache that the Python tools share.

`olah` serves git repositories of this machine, offline: listing, references and content, but no description of a
repository, so that the commit has to be found another way. Usage: check_pull.py BINDIR OLAH_PYTHON
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Checks, Programs

COMMIT_DATE = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}

# Every call to Python's client is a process of its own: it reads its environment once.
PYTHON_READS = """
import json, sys
from pathlib import Path
from huggingface_hub import snapshot_download, scan_cache_dir, try_to_load_from_cache
folder = snapshot_download("team/tiny", local_files_only=True)
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("team/tiny")
data = snapshot_download("team/rows", repo_type="dataset", local_files_only=True)
report = scan_cache_dir()
print(json.dumps({"folder": folder, "data": data, "ids": tokenizer("hello world")["input_ids"],
                  "repos": sorted(r.repo_id for r in report.repos), "warnings": [str(w) for w in report.warnings],
                  "absent": str(try_to_load_from_cache("team/tiny", "generation_config.json"))}))
"""
PYTHON_FILLS = """
from huggingface_hub import snapshot_download
print(snapshot_download("team/tiny", revision="v1"))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Olah:
    """The server, stopped on leaving the block."""

    def __init__(self, python, work, mirrors):
        self.python, self.work, self.mirrors, self.port = python, work, mirrors, free_port()

    def __enter__(self):
        host = f"127.0.0.1:{self.port}"
        (self.work / "olah.toml").write_text(
            f'[basic]\nhost = "127.0.0.1"\nport = {self.port}\nrepos-path = "{self.work / "repos"}"\n'
            f'mirror-netloc = "{host}"\nmirror-lfs-netloc = "{host}"\nmirrors-path = ["{self.mirrors}"]\n'
            "[accessibility]\noffline = true\n")
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.process = subprocess.Popen(
            [self.python, "-m", "olah.server", "-c", str(self.work / "olah.toml"), "--log-path", str(self.work / "logs")],
            env=environment, cwd=self.work, stdout=open(self.work / "olah.log", "w"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("olah does not start:\n" + (self.work / "olah.log").read_text()[-2000:])

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


def commit(folder, files, tag=None):
    environment = {**os.environ, **COMMIT_DATE, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder)}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    def git(*arguments):
        return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=folder,
                              env=environment, check=True, capture_output=True, text=True).stdout.strip()

    if not (folder / ".git").exists():
        git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "files")
    if tag:
        git("tag", tag)
    return git("rev-parse", "HEAD")


def tokenizer_files():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1, "world": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    return {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": json.dumps(config).encode()}


def run(command, environment):
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.strip(), done.stderr


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def check(checks, programs, olah_python):
    work = programs.work / "pull"
    work.mkdir()
    mirrors = work / "mirrors"
    model, data = mirrors / "models" / "team" / "tiny", mirrors / "datasets" / "team" / "rows"
    weights = bytes(range(256)) * 12_000  # 3 MB
    files = {"config.json": b'{"model_type": "llama"}', "model.safetensors": weights, "README.md": b"---\nlicense: mit\n---\n",
             **tokenizer_files()}
    old = commit(model, {**files, "config.json": b'{"model_type": "llama", "old": true}'}, tag="v1")
    new = commit(model, files)
    rows = {"train.jsonl": b'{"text": "a"}\n', "test.jsonl": b'{"text": "b"}\n', "README.md": b"# rows\n"}
    commit(data, rows)

    def environment(name, **more):
        clean = {k: v for k, v in programs.environment.items() if not k.startswith("HF_")}
        return {**clean, "HF_HOME": str(work / name), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", **more}

    hone = programs.folder / "hone"
    with Olah(olah_python, work, mirrors) as server:
        ours = environment("ours", HF_ENDPOINT=server.url)
        code, folder, error = run([hone, "pull", "team/tiny"], ours)
        checks.expect(code == 0 and Path(folder).name == new and files_of(folder) == files,
                      "pull: a model from olah, which describes no repository", error.strip().splitlines()[-1:])
        code, tagged, error = run([hone, "pull", "team/tiny@v1", "--output", work / "copy"], ours)
        checks.expect(code == 0 and b"old" in (work / "copy" / "config.json").read_bytes(), "pull: a tag, as files of one's own")
        code, rows_folder, error = run([hone, "pull", "team/rows", "--dataset"], ours)
        checks.expect(code == 0 and files_of(rows_folder) == rows, "pull: a dataset from olah", error.strip().splitlines()[-1:])
        code, _, error = run([hone, "pull", "team/none"], ours)
        checks.expect(code in (66, 77) and "team/none" in error, "pull: what olah lacks is named", f"exit {code}")

        theirs = environment("theirs", HF_ENDPOINT=server.url)
        code, filled, error = run([sys.executable, "-c", PYTHON_FILLS], theirs)
        checks.expect(code == 0 and Path(filled).name == old, "pull: huggingface_hub fills a cache from olah", error[-300:] if code else "")

    offline = environment("ours", HF_HUB_OFFLINE="1")
    code, out, error = run([sys.executable, "-c", PYTHON_READS], offline)
    seen = json.loads(out) if code == 0 else {}
    checks.expect(seen.get("folder") == folder and seen.get("data") == rows_folder,
                  "pull: huggingface_hub finds our snapshots complete, offline", error[-300:] if code else "")
    checks.expect(seen.get("ids") == [1, 2], "pull: transformers loads the tokenizer from our cache, offline")
    checks.expect(seen.get("repos") == ["team/rows", "team/tiny"] and seen.get("warnings") == [],
                  "pull: huggingface_hub's scan of our cache has no complaint", seen.get("warnings"))
    checks.expect("object" in seen.get("absent", ""), "pull: huggingface_hub knows from our cache what is known to be missing")

    code, read, error = run([hone, "pull", "team/tiny@v1"], environment("theirs", HF_HUB_OFFLINE="1"))
    checks.expect(code == 0 and read == filled, "pull: we read what huggingface_hub has cached, offline", error.strip()[-300:] if code else "")
    code, read, error = run([hone, "pull", "team/tiny"], environment("ours", HF_ENDPOINT=server.url))
    checks.expect(code == 0 and read == folder and "using commit" in error,
                  "pull: a server that is gone is answered from the cache, with a warning")


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="hone-pull-") as work:
        check(checks, Programs(sys.argv[1], work), sys.argv[2])
    print(f"{checks.passed} passed, {len(checks.failed)} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
