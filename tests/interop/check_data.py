"""Rows of CSV, text and Parquet files and the choice of a split, against pyarrow, pandas and datasets."""

import datetime
import decimal
import gzip
import json
import random
import subprocess

import datasets
import pandas
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["plain", "a,b", 'say "hi"', "two\nlines", "cr\r\nlf", "né 🙂", " space ", "tab\tbed", "'", "0", "-"]


def text(rng):
    return rng.choice(["", " "]).join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))


def our_rows(programs, path, *options):
    lines = programs.run("dump_rows", path, *options).splitlines()
    return [json.loads(line) for line in lines]


def compress(path, kind):
    data = path.read_bytes()
    if kind == "gz":
        out = gzip.compress(data)
    else:
        out = pa.compress(data, codec="zstd", asbytes=True)
    target = path.with_name(f"{path.name}.{kind}")
    target.write_bytes(out)
    return target


def check_csv(checks, programs, folder):
    rng = random.Random(7)
    table = pandas.DataFrame({"prompt": [text(rng) for _ in range(300)], "completion, too": [text(rng) for _ in range(300)]})
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        path = folder / name
        table.to_csv(path, index=False, sep=separator)
        features = datasets.Features({column: datasets.Value("string") for column in table.columns})
        theirs = datasets.load_dataset("csv", data_files=str(path), split="train", sep=separator, features=features, keep_default_na=False,
                                       cache_dir=str(folder / "cache"))
        ours = our_rows(programs, path)
        checks.expect(ours == list(theirs), f"csv: {name}: 300 rows as datasets reads them")
        for kind in ("gz", "zst"):
            checks.expect(our_rows(programs, compress(path, kind)) == ours, f"csv: {name}.{kind}")


def check_text(checks, programs, folder):
    path = folder / "a.txt"
    path.write_text("one\ntwo  \n\n\nthree \"x\"\nné 🙂\n\nlast", encoding="utf-8")
    for by in ("line", "paragraph", "document"):
        theirs = datasets.load_dataset("text", data_files=str(path), split="train", sample_by=by, cache_dir=str(folder / "cache"))
        # Blank rows train nothing: ours leaves them out. datasets keeps the line feeds around a paragraph.
        wanted = [row["text"].strip("\n") for row in theirs if row["text"].strip()]
        ours = [row["text"] for row in our_rows(programs, path, by)]
        checks.expect(ours == wanted, f"text by {by}", "" if ours == wanted else (ours, wanted))


def nested(rng):
    turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("weights", pa.list_(pa.float64()))])
    chats = [
        rng.choice([None, [], [{"role": "user", "content": text(rng), "weights": rng.choice([None, [], [0.25, None]])} for _ in range(3)]])
        for _ in range(500)
    ]
    return pa.table(
        {
            "chat": pa.array(chats, pa.list_(turn)),
            "one": pa.array([{"a": {"b": [i, None]}, "c": bool(i % 2)} if i % 5 else None for i in range(500)]),
            "n": pa.array([rng.choice([None, rng.randint(-(2**62), 2**62)]) for _ in range(500)], pa.int64()),
            "u": pa.array(range(500), pa.uint16()),
            "f": pa.array([rng.gauss(0, 1) for _ in range(500)], pa.float32()),
            "s": pa.array([rng.choice([None, "", text(rng)]) for _ in range(500)]).dictionary_encode(),
            "large": pa.array([text(rng) for _ in range(500)], pa.large_string()),
            "day": pa.array([datetime.date.fromordinal(rng.randint(1, 3_000_000)) for _ in range(500)]),
            "price": pa.array([decimal.Decimal(rng.randint(-(10**9), 10**9)).scaleb(-3) for _ in range(500)], pa.decimal128(20, 3)),
        }
    )


def as_json(value):
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(v) for v in value]
    return str(value) if isinstance(value, (datetime.date, decimal.Decimal)) else value


def check_parquet(checks, programs, folder):
    table = nested(random.Random(8))
    theirs = as_json(table.to_pylist())
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        for version in ("1.0", "2.0"):
            path = folder / f"{codec}-{version}.parquet"
            pq.write_table(table, path, compression=codec, data_page_version=version, row_group_size=170, data_page_size=2000)
            ours = our_rows(programs, path)
            wrong = next(((a, b) for a, b in zip(ours, theirs) if a != b), None)
            checks.expect(len(ours) == len(theirs) and wrong is None, f"parquet: {codec}, pages {version}", wrong or "")


LAYOUTS = {
    "shards": ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "data/test-00000-of-00001.jsonl", "test.jsonl"],
    "folders": ["train/a.jsonl", "my-test/b.jsonl", "x/dev2/c.jsonl", "test.jsonl"],
    "names": ["train.jsonl", "eval-set.jsonl", "my_valid_2.jsonl", "other.jsonl", "trainer.jsonl"],
    "both": ["train_test.jsonl"],
    "plain": ["a.jsonl", "sub/b.jsonl", "Test.jsonl"],
    "kinds": ["a.csv", "b.jsonl", "c.jsonl", "README.txt"],
    "hidden": ["a.jsonl", ".hidden/b.jsonl", "__cache__/c.jsonl"],
    "card": ["m/a.jsonl", "m/b.jsonl", "e/x/c.jsonl", "two/train.jsonl", "two/test.jsonl", "train.jsonl"],
}
CARD = """---
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: m/*.jsonl
  - split: held
    path: ["e/**", "train.jsonl"]
- config_name: second
  data_dir: two
---
"""


def check_splits(checks, programs, folder):
    for name, files in LAYOUTS.items():
        root = folder / name
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            line = "text\n" + file if file.endswith(".csv") else json.dumps({"text": file})
            (root / file).write_text(line + "\n")
        if name == "card":
            (root / "README.md").write_text(CARD)
        for config in ("main", "second") if name == "card" else ("",):
            theirs = datasets.load_dataset(str(root), config or None, cache_dir=str(folder / "cache"))
            for split, rows in theirs.items():
                ours = programs.run("dump_rows", "--files", root, config, split).split()
                wanted = sorted(row["text"] for row in rows)
                checks.expect(sorted(ours) == wanted, f"split {name} {config} {split}", "" if sorted(ours) == wanted else (ours, wanted))
            for split in {"train", "validation", "test"} - set(theirs):
                done = subprocess.run([programs.folder / "dump_rows", "--files", root, config, split], capture_output=True)
                checks.expect(done.returncode == 1, f"split {name} {config}: no {split}")


def check(checks, programs):
    datasets.disable_progress_bars()
    folder = programs.work / "data"
    folder.mkdir(parents=True)
    check_csv(checks, programs, folder)
    check_text(checks, programs, folder)
    check_parquet(checks, programs, folder)
    check_splits(checks, programs, folder)
