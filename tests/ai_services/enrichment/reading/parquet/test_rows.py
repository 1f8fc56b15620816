"""Parquet that unpacks to more than it seems: what is held of it at once has bounds."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ai_services.enrichment.reading.file_format import FileRefused
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder, call, whole

_TURN = {"role": "customer", "at_ms": 0, "text": "t"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def calls(rows: int, **columns: Any) -> pa.Table:
    """As many calls, each with its id; a column is a value for all of them, or a list."""
    values = call() | {"callid": [f"c-{number}" for number in range(rows)]} | columns
    return pa.table(
        {name: one if isinstance(one, list) else [one] * rows for name, one in values.items()}
    )


def written(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def named_often(text: str, rows: int) -> bytes:
    """The text once, in a dictionary that every row names."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    table = calls(rows).set_column(1, "task_id", column)
    return written(table, compression="zstd", dictionary_pagesize_limit=1 << 30)


MEASURE = """
import sys
from pathlib import Path
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
from shared.errors import InvalidInput

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024

rejected, said = 0, ""
try:
    for batch in read_calls(Path(sys.argv[1]), load_preset("calls"), max_unpacked=64 << 20):
        rejected += len(batch.rejects)
except InvalidInput as error:
    said = error.message
print(rejected, peak(), said)
"""


def measured(path: Path) -> tuple[int, int, str]:
    """Rejected rows, the most memory that was held in MB, and why it was refused, if it was."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    rejected, peak, said = done.stdout.split(" ", 2)
    return int(rejected), int(peak), said.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_text_that_a_dictionary_holds_once_is_not_written_out_for_every_row(folder) -> None:
    """20,000 rows of 4 MiB in a file of a few hundred kilobytes: 80 GB if it were."""
    path = folder.write("bomb.parquet", named_often("x" * (4 << 20), 20_000))
    assert path.stat().st_size < 1 << 20
    rejected, peak, said = measured(path)
    assert "unpacks to more than is taken" in said
    assert rejected < 20
    assert peak < 500


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_page_that_is_larger_than_may_be_held_is_not_unpacked(folder) -> None:
    """It compresses to nothing; in the footer it could be told to be small."""
    text = "x" * (600 << 20)
    options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    path = folder.write("page.parquet", written(calls(1, task_id=text), **options))
    del text
    assert path.stat().st_size < 1 << 20
    rejected, peak, said = measured(path)
    assert "unpacks to more than 128 MiB at once" in said
    assert (rejected, peak < 500) == (0, True)


def test_a_row_too_long_is_rejected_by_itself(folder) -> None:
    long = "é" * (5 << 20)
    nested = [{**_TURN, "text": "short"}, {**_TURN, "text": long}]
    for column, value in (("task_id", long), ("turns", nested)):
        table = calls(3, **{column: [None, value, None]})
        batch = folder.read(f"{column}.parquet", written(table))
        assert batch.frame["callid"].to_list() == ["c-0", "c-2"]
        assert batch.frame["line"].to_list() == [1, 3]
        (reject,) = batch.rejects
        assert reject.line == 2
        assert "bytes long, more than 8,388,608" in reject.problem
        assert '"c-1"' in reject.raw


def test_a_nested_text_that_many_turns_name_is_counted_as_often(folder) -> None:
    turns = [[{**_TURN, "text": "x" * (1 << 20)}] * 40]
    batch = folder.read("turns.parquet", written(calls(1, turns=turns)))
    (reject,) = batch.rejects
    assert "bytes long, more than 8,388,608" in reject.problem


def test_no_more_is_unpacked_than_is_said(folder) -> None:
    data = named_often("x" * 100_000, 200)
    assert whole(folder.batches("a.parquet", data, max_unpacked=25 << 20)).height == 200
    with pytest.raises(InvalidInput, match="unpacks to more"):
        folder.batches("a.parquet", data, max_unpacked=15 << 20)


@pytest.mark.parametrize(
    "options",
    [
        {"data_page_version": "1.0"},
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "compression": "none"},
        {"compression": "gzip", "data_page_size": 1000, "row_group_size": 700},
        {"write_statistics": False, "compression": "brotli", "dictionary_pagesize_limit": 500},
    ],
    ids=str,
)
def test_however_it_was_written_the_same_rows_come_out(folder, options) -> None:
    rows = 6_000
    table = calls(
        rows,
        turns=[
            None if n % 3 else [{**_TURN, "text": f"t {n}" * (n % 40)}] * (n % 4)
            for n in range(rows)
        ],
        task_id=[None if n % 7 == 0 else f"task-{n % 50}" for n in range(rows)],
    )
    frame = whole(folder.batches("a.parquet", written(table, **options)))
    assert frame["line"].to_list() == list(range(1, rows + 1))
    assert frame["callid"].to_list() == table["callid"].to_pylist()
    assert frame["task_id"].to_list() == table["task_id"].to_pylist()
    said = [None if text is None else json.loads(text) for text in frame["turns"]]
    assert [one and [turn["text"] for turn in one] for one in said] == [
        [turn["text"].strip() for turn in one] if one else None
        for one in table["turns"].to_pylist()
    ]


def test_a_page_header_that_is_none_is_a_damaged_file(folder) -> None:
    data = bytearray(written(calls(100)))
    data[4:60] = b"\xff" * 56
    with pytest.raises(FileRefused, match="damaged after row 0"):
        folder.batches("a.parquet", bytes(data))


def test_a_footer_that_speaks_of_more_values_than_there_are_is_a_damaged_file(folder) -> None:
    """What a reader would look for behind the last page isn't looked at."""
    data = written(calls(100))
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    assert group.num_rows == 100
    footer = int.from_bytes(data[-8:-4], "little")
    start = len(data) - 8 - footer
    # num_values of each chunk, 100 as a zigzag varint after the header of its field.
    lying = data[:start] + data[start:].replace(b"\x16\xc8\x01\x16", b"\x16\xca\x01\x16")
    assert lying != data
    with pytest.raises(FileRefused, match="damaged after row 0"):
        folder.batches("a.parquet", lying)
