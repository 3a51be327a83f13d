"""Event files in TensorBoard's own readers: the Python one, and the data server that `tensorboard` starts by default."""

import contextlib
import json
import shutil
import struct
import time

import numpy
from tensorboard import context
from tensorboard.backend.event_processing import data_provider as multiplexer_provider
from tensorboard.backend.event_processing import event_accumulator, event_file_loader, plugin_event_multiplexer
from tensorboard.data import provider, server_ingester
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
from tensorboard.util import grpc_util

from common import GOLDEN

RECIPE = """recipe: sft
model_name_or_path: model
dtype: float32
adapter: {type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1, target_modules: all-linear}
datasets: [{path: train.jsonl, format: messages}]
eval_datasets: [{path: test.jsonl, format: messages}]
max_length: 64
gradient_accumulation_steps: 2
learning_rate: 1.0e-2
max_steps: 8
logging_steps: 1
eval_steps: 4
save_steps: 4
output_dir: runs/first
"""
HOSTILE = "<script>alert(1)</script> | **bold**\n\n```\n\u2028 é 🙂 \x07 end"


def make_workspace(programs):
    folder = programs.work / "tensorboard"
    (folder / "model").mkdir(parents=True)
    for source in (GOLDEN / "tiny-chat").iterdir():
        shutil.copy(source, folder if source.suffix == ".jsonl" else folder / "model")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def expected_scalars(rows):
    """{tag: [(step, value)]} of metrics.jsonl."""
    series = {}

    def add(tag, step, value):
        if isinstance(value, dict):
            for name, item in value.items():
                add(f"{tag}/{name}", step, item)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            series.setdefault(tag, []).append((step, float32(value)))

    for row in rows:
        for name, value in row.items():
            if name != "step":
                add("eval/" + name[5:] if name.startswith("eval_") else "train/" + name, row["step"], value)
    return series


def accumulated_scalars(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


class Provider:
    """What the plugins of TensorBoard see of a log folder."""

    def __init__(self, name, data, reload=None):
        self.name, self.data, self.reload = name, data, reload
        self.request = context.RequestContext()

    def scalars(self, run):
        read = self.data.read_scalars(self.request, experiment_id="", plugin_name="scalars", downsample=1000,
                                      run_tag_filter=provider.RunTagFilter(runs=[run]))
        return {tag: [(d.step, d.value) for d in data] for tag, data in read.get(run, {}).items()}

    def texts(self, run):
        read = self.data.read_tensors(self.request, experiment_id="", plugin_name="text", downsample=1000,
                                      run_tag_filter=provider.RunTagFilter(runs=[run]))
        return {tag: [(d.step, [[cell.decode() for cell in row] for row in numpy.asarray(d.numpy).tolist()]) for d in data] for tag, data in read.get(run, {}).items()}

    def session(self, run):
        backend = backend_context.Context(base_plugin.TBContext(data_provider=self.data))
        request = api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=10, include_metrics=True,
            allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN])
        experiment = backend.experiment_from_metadata(
            self.request, "", True, backend.hparams_metadata(self.request, ""), backend.hparams_from_data_provider(self.request, "", None))
        request.col_params.extend(api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos)
        request.col_params.extend(api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos)
        groups = list_session_groups.Handler(self.request, backend, "", request).run().session_groups
        group = next(g for g in groups if any(s.name == run for s in g.sessions))
        parameters = {}
        for name, value in group.hparams.items():
            parameters[name] = getattr(value, value.WhichOneof("kind"))
        metrics = {m.name.tag: (m.training_step, m.value) for m in group.sessions[0].metric_values}
        return parameters, metrics, group.sessions[0].status


def python_provider(folder, name="TensorBoard's Python reader"):
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 0, "text": 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return Provider(name, multiplexer_provider.MultiplexerDataProvider(multiplexer, str(folder)), multiplexer.Reload)


@contextlib.contextmanager
def data_server(folder):
    server = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(), logdir=str(folder), reload_interval=1,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL)
    server.start()
    try:
        yield Provider("TensorBoard's data server", server.data_provider)
    finally:
        server._stdin_handle.close()  # it ends with its standard input


def flatten(recipe, prefix=""):
    values = {}
    for name, value in recipe.items():
        if isinstance(value, dict):
            values |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            values[prefix + name] = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        elif value is not None:
            values[prefix + name] = value
    return values


def check_run(checks, reader, output, run, texts, fresh=False):
    expected = expected_scalars(rows_of(output / "metrics.jsonl"))
    scalars = reader.scalars(run)
    checks.expect(scalars == expected, f"{reader.name}: scalars are those of metrics.jsonl",
                  f"{len(expected)} tags" if scalars == expected else {t: (scalars.get(t), expected.get(t)) for t in {*scalars, *expected}
                                                                      if scalars.get(t) != expected.get(t)})
    checks.expect(reader.texts(run) == texts, f"{reader.name}: samples as text", "" if reader.texts(run) == texts else reader.texts(run))
    parameters, metrics, status = reader.session(run)
    wanted = flatten(json.loads((output / "run.json").read_text())["recipe"])
    if not fresh:  # it keeps the hyper-parameters it saw first
        wanted["learning_rate"] = 0.01
    checks.expect(parameters == wanted, f"{reader.name}: hyper-parameters are the recipe's values", len(wanted))
    finals = {tag: points[-1] for tag, points in expected.items()}
    checks.expect(metrics == finals, f"{reader.name}: final metrics of the HPARAMS tab", "" if metrics == finals else metrics)
    checks.expect(status == api_pb2.STATUS_SUCCESS, f"{reader.name}: the session ended well")


def until(condition, seconds=60):
    """Whether it came true in time: the data server reads its folder once a second."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def train_times(file):
    """{step: time of its row of training}. The loader checks both checksums of every record."""
    events = list(event_file_loader.EventFileLoader(str(file)).Load())
    return {e.step: e.wall_time for e in events if e.summary.value and e.summary.value[0].tag.startswith("train/")}


def write_samples(output):
    """Two prompts, before and after; returns them as the TEXT tab has them."""
    rows = [{"step": step, "prompt": prompt, "text": f"{HOSTILE} {step}", "num_tokens": 3} for step in (0, 4) for prompt in ("Hi", HOSTILE)]
    (output / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {f"samples/prompt_{n}": [(step, [["prompt", prompt], ["text", f"{HOSTILE} {step}"]]) for step in (0, 4)]
            for n, prompt in ((1, "Hi"), (2, HOSTILE))}


def check(checks, programs):
    folder = make_workspace(programs)
    output, run = folder / "runs/first", "first/tensorboard"
    events = output / "tensorboard"
    programs.run("hone", "train", "recipe.yaml", cwd=folder)
    first = expected_scalars(rows_of(output / "metrics.jsonl"))
    (first_file,) = events.iterdir()
    first_times = train_times(first_file)
    checks.expect(sorted(first_times) == list(range(1, 9)), "event file loader: every record is whole")
    checks.expect(accumulated_scalars(events) == first, "EventAccumulator: scalars are those of metrics.jsonl")

    # The run goes on from its checkpoint on another course, while two TensorBoards look on.
    python = python_provider(folder / "runs")
    with data_server(folder / "runs") as server:
        checks.expect(until(lambda: server.scalars(run) == first), f"{server.name}: scalars of the first part")
        texts = write_samples(output)
        programs.run("hone", "train", "recipe.yaml", "--resume", output / "checkpoint-4", "--set", "learning_rate=2.0e-3", cwd=folder)
        second = expected_scalars(rows_of(output / "metrics.jsonl"))
        checks.expect(second != first and len(second["train/loss"]) == 8, "the second part takes another course")
        (second_file,) = (file for file in events.iterdir() if file.stat().st_size > 0)
        checks.expect(second_file.name > first_file.name, "a resumed run has one event file with events, named behind the first",
                      second_file.name)
        checks.expect(accumulated_scalars(events) == second, "EventAccumulator: every step once, none of what was thrown away")
        second_times = train_times(second_file)
        checks.expect(all(second_times[s] == first_times[s] for s in range(1, 5)) and second_times[5] > first_times[8],
                      "rows of before the resume keep their times")
        until(lambda: server.scalars(run) == second)
        check_run(checks, server, output, run, texts)
    python.reload()
    check_run(checks, python, output, run, texts)
    check_run(checks, python_provider(folder / "runs", "TensorBoard's Python reader, started later"), output, run, texts, fresh=True)
    shutil.rmtree(folder)
