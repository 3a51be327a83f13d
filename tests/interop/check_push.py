"""What `hone push` makes of a hub over HTTP, read back by huggingface_hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def check(checks, programs):
    """In a process of its own: huggingface_hub reads its settings once, and the others here run offline."""
    environment = {name: value for name, value in os.environ.items() if name not in OFFLINE}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(programs.work / "hf"), "HONE_HUB": str(programs.work / "hub")}
    command = [sys.executable, __file__, str(programs.folder / "hone"), str(programs.work / "push")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    checks.expect(done.returncode == 0, "push: the round trip ends well", done.stderr[-2000:])
    for line in done.stdout.splitlines():
        checks.expect(*json.loads(line))


def round_trip(hone, work):
    from huggingface_hub import HfApi, snapshot_download

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden" / "hub"))
    from hub_server import TOKEN, Hub

    def tell(ok, name, detail=""):
        print(json.dumps([bool(ok), f"push: {name}", str(detail)]), flush=True)

    def push(*options, expected=0):
        command = [hone, "push", str(folder), "ada/tiny", "--endpoint", hub.url, *options]
        done = subprocess.run(command, env={**os.environ, "HF_TOKEN": TOKEN}, capture_output=True, text=True)
        if done.returncode != expected:
            raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def pulled(revision, name="ada/tiny"):
        root = Path(snapshot_download(name, revision=revision, endpoint=hub.url, token=TOKEN, cache_dir=work / "cache"))
        return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file() and path.name != ".gitattributes"}

    def ours():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    hub = Hub(part_size=5 << 20)
    api = HfApi(endpoint=hub.url, token=TOKEN)
    folder = work / "model"
    folder.mkdir(parents=True)
    noise = os.urandom(12 << 20)
    (folder / "config.json").write_text('{"model_type": "llama"}\n')
    (folder / "README.md").write_text("# tiny \u2603\n")
    (folder / "merges.txt").write_text("")
    (folder / "model.safetensors").write_bytes(noise)

    output = push("--tag", "v1", "--message", "First")
    tell(pulled("main") == ours(), "a new repository holds the folder, in parts where the hub asks for parts")
    tell(api.repo_info("ada/tiny").private, "a new repository is private")
    tell(TOKEN not in output, "the token is not told")
    first = ours()
    commits = [commit.title for commit in api.list_repo_commits("ada/tiny")]
    tell(commits == ["First", "initial commit"], "one commit", commits)

    push("--message", "Again")
    tell(len(api.list_repo_commits("ada/tiny")) == 2, "nothing new is no commit")

    (folder / "model.safetensors").unlink()
    (folder / "model-00001-of-00001.safetensors").write_bytes(noise)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-00001-of-00001.safetensors"}}')
    stored = len(hub.parts)
    push("--message", "Shards")
    tell(pulled("main") == ours(), "stale weights are removed by the commit that brings the new ones")
    tell(len(hub.parts) == stored, "content the hub has is not sent again")
    tell(pulled("v1") == first, "the tag keeps the old version")

    (folder / "config.json").write_text('{"model_type": "llama", "x": 1}\n')
    push("--branch", "trial/1")
    tell(pulled("trial/1") == ours() and pulled("main") != ours(), "a branch is made from main")
    output = push("--create-pr", "--branch", "main")
    tell(pulled("refs/pr/1") == ours() and pulled("main") != ours(), "a pull request", output.splitlines()[-1])
    push("--tag", "v1", expected=73)
    tell(pulled("main") != ours(), "a taken tag is refused before the commit")
    train_pushes_every_save(hone, work, hub, api, TOKEN, pulled, tell)
    hub.close()


def train_pushes_every_save(hone, work, hub, api, token, pulled, tell):
    tiny, run = Path(__file__).resolve().parents[1] / "golden" / "tiny-chat", work / "run"
    recipe = {"recipe": "sft", "model_name_or_path": str(tiny), "dtype": "float32", "max_length": 64, "max_steps": 4, "save_steps": 1,
              "adapter": {"type": "lora", "r": 4}, "datasets": [{"path": str(tiny / "train.jsonl"), "format": "messages"}],
              "learning_rate": 1e-2, "output_dir": str(run), "push_to_hub": True, "hub_model_id": "ada/run",
              "hub_endpoint": hub.url, "hub_strategy": "every_save"}
    (work / "recipe.yaml").write_text(json.dumps(recipe))
    environment = {**os.environ, "HF_TOKEN": token, "XDG_CACHE_HOME": str(work / "cache")}
    done = subprocess.run([hone, "train", str(work / "recipe.yaml")], env=environment, capture_output=True, text=True)
    tell(done.returncode == 0, "hub_strategy every_save: the run ends well", done.stderr[-2000:])
    titles = [commit.title for commit in api.list_repo_commits("ada/run")]
    saves = [title for title in titles if "checkpoint-" in title]
    tell(titles[0] == "Fine-tune tiny-chat", "the message names the base, not where it lies", titles[0])
    tell(saves and titles[-1] == "initial commit" and "checkpoint-" not in titles[0],
         "hub_strategy every_save: saves, then the final model", titles)
    files = pulled("main", "ada/run")
    tell(files.get("adapter_model.safetensors") == (run / "adapter_model.safetensors").read_bytes(),
         "hub_strategy every_save: the branch ends with the final model", sorted(files))


if __name__ == "__main__":
    round_trip(sys.argv[1], Path(sys.argv[2]))
