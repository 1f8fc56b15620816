"""The call record: its fields and their limits. Its words are in shared/calls.py.

The HTTP API, the file import and the demo generator all take their names and limits from
here, so that a record means the same wherever it comes in. `docs/import.md` describes the
fields for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
import polars as pl

ROLES: Final = ("customer", "agent")

PHONE_DIGITS: Final = (3, 20)
MAX_MS: Final = 86_400_000  # a day; no call lasts longer
MAX_ROUNDS: Final = 10_000
MAX_TURNS: Final = 5_000
MAX_TRANSCRIPT_CHARS: Final = 1_000_000  # text of all turns together
FIRST_YEAR: Final = 2000
FUTURE_HOURS: Final = 24  # clocks differ; a call may start at most a day from now

# In the order in which problems of a row are told.
FIELDS: Final = (
    "callid",
    "task_id",
    "agent_id",
    "user_id",
    "customer_id",
    "phone",
    "started_at",
    "duration_ms",
    "bill_ms",
    "rounds",
    "level_name",
    "call_status",
    "hangup_by",
    "turns",
)
REQUIRED: Final = ("callid", "user_id", "started_at", "call_status")
# What a call may lack: a value that can't be read leaves the field empty, not the call out.
OPTIONAL: Final = (
    "task_id",
    "agent_id",
    "customer_id",
    "phone",
    "bill_ms",
    "rounds",
    "level_name",
    "hangup_by",
    "turns",
)
ID_FIELDS: Final = ("callid", "task_id", "agent_id", "user_id", "customer_id")
MS_FIELDS: Final = ("duration_ms", "bill_ms")
INT_LIMITS: Final[Mapping[str, int]] = {
    "duration_ms": MAX_MS,
    "bill_ms": MAX_MS,
    "rounds": MAX_ROUNDS,
}

# What `read_calls` hands to storage. `line` is the 1-based physical line of the file (the
# row number in Parquet); `turns` is a JSON array of {"role","at_ms","text"} or null. Numbers
# are 64-bit because polars sums in the column's own type.
FRAME_SCHEMA: Final[Mapping[str, pl.DataType]] = {
    "line": pl.UInt64(),
    "callid": pl.String(),
    "task_id": pl.String(),
    "agent_id": pl.String(),
    "user_id": pl.String(),
    "customer_id": pl.String(),
    "phone": pl.String(),
    "started_at": pl.Datetime("us", "UTC"),
    "duration_ms": pl.Int64(),
    "bill_ms": pl.Int64(),
    "rounds": pl.Int64(),
    "level_name": pl.String(),
    "call_status": pl.String(),
    "hangup_by": pl.Int16(),
    "turns": pl.String(),
}


class Turn(msgspec.Struct, kw_only=True, gc=False):
    """One utterance. `at_ms` counts from the start of the call; null where unknown."""

    role: Literal["customer", "agent"]
    at_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)] | None = None
    text: str
