"""Small Parquet files for tests/data: rows over two row groups with nested columns, and a bomb. Written with pyarrow 26.0.1."""

import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent

CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def rows():
    turns = [{"role": "user", "content": "A \"quoted\"\nline"}, {"role": "assistant", "content": "né 🙂"}]
    return pa.table(
        {
            "messages": pa.array([turns, turns[:1], [], None], CHAT),
            "score": pa.array([0.5, None, -1e300, 3.0], pa.float64()),
            "day": pa.array([datetime.date(2024, 2, 29), datetime.date(1969, 12, 31), None, datetime.date(1, 1, 1)]),
            "at": pa.array([datetime.datetime(2024, 2, 29, 12, 30, 1, 5), None, None, None], pa.timestamp("us")),
            "price": pa.array([decimal.Decimal("12.30"), decimal.Decimal("-0.05"), None, decimal.Decimal("0")], pa.decimal128(9, 2)),
            "blob": pa.array([b"text", b"\xff\x00\x01", b"", None], pa.binary()),
            "tags": pa.array([[["a"], []], None, [[]], [None, ["b", None]]], pa.list_(pa.list_(pa.string()))),
            "map": pa.array([[("k", 1)], [], None, None], pa.map_(pa.string(), pa.int32())),
        }
    )


def main():
    pq.write_table(rows(), FOLDER / "rows.parquet", compression="zstd", row_group_size=3)
    zeros = pa.table({"text": pa.array(["0" * (64 << 20)])})
    pq.write_table(zeros, FOLDER / "bomb.parquet", compression="zstd", use_dictionary=False, write_statistics=False)


main()
