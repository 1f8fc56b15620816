"""Files of call records for tests, and reading them whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.reading.read_file import Batch, read_calls
from ai_services.enrichment.validation.record import FIELDS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALL = {
    "callid": "c-1",
    "task_id": "t-1",
    "agent_id": "a-1",
    "user_id": "u-1",
    "customer_id": "k-1",
    "phone": "13812348000",
    "started_at": "2024-03-05T14:20:00+08:00",
    "duration_ms": 61_000,
    "bill_ms": 120_000,
    "rounds": 2,
    "level_name": "B",
    "call_status": "connected",
    "hangup_by": 2,
}
TURNS = [
    {"role": "agent", "at_ms": 0, "text": '您好, "hello"'},
    {"role": "customer", "at_ms": 1500, "text": "嗯\n好"},
]


def call(**changes: Any) -> dict[str, Any]:
    return {**CALL, **changes}


def as_csv(rows: Iterable[Mapping[str, Any]], separator: str = ",", **options: Any) -> bytes:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(FIELDS)
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator="\n", **options)
    writer.writerow(names)
    for row in rows:
        cells = (row.get(name) for name in names)
        writer.writerow(
            json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell
            for cell in cells
        )
    return out.getvalue().encode()


def as_jsonl(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


class Folder:
    """Writes files into a folder and reads them back as call records."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    def batches(
        self, name: str, data: bytes, preset: str | Preset = "calls", **options: Any
    ) -> list[Batch]:
        chosen = load_preset(preset) if isinstance(preset, str) else preset
        return list(read_calls(self.write(name, data), chosen, **{"now": NOW, **options}))

    def read(self, name: str, data: bytes, preset: str | Preset = "calls", **options: Any) -> Batch:
        """The file as one batch."""
        batches = self.batches(name, data, preset, **options)
        assert len(batches) == 1
        return batches[0]


def rows(batch: Batch) -> list[dict[str, Any]]:
    return batch.frame.to_dicts()


def whole(batches: Iterable[Batch]) -> pl.DataFrame:
    return pl.concat([batch.frame for batch in batches])
