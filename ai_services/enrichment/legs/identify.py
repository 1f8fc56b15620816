"""By what a leg is known when it comes again.

By its own callid and the cell of the column that a column map names as `leg_id`; a row that comes again
with other values replaces it then. Without such a column it is known by all that is read of it: whatever
the order in which rows come, and however often, the same rows are the same legs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import polars as pl

from ai_services.enrichment.legs.rows import LEG_ID

_OWN: Final = "own_id"
# In digests for good: a row that comes again after an update has to be known.
_SAID: Final = (
    "own_id", "task_id", "user_id", "customer_id", "started_at", "duration_ms", "bill_ms", "rounds",
    "level_name", "call_status", "hangup_by", "phone_cipher", "turns",
)  # fmt: skip


def identified(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` of LEG_SCHEMA whose numbers are encrypted already, with `leg_id` a digest.

    What stands in a digest can be guessed where there is little to guess: no number is in one.
    """
    said = rows.select(pl.col(name).cast(pl.String) for name in _SAID)
    names = zip(rows[_OWN], rows[LEG_ID], said.iter_rows(), _agents(rows), strict=True)
    ids = [_digest((own, leg) if leg else (*row, *agent)) for own, leg, row, agent in names]
    return rows.with_columns(pl.Series(LEG_ID, ids, dtype=pl.String))


def _agents(rows: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """The agents of rows, where they say more than their accounts do: digests are older than agents, and
    presets that read the account from who spoke read the agent there as well.
    """
    for agent, user in rows.select("agent_id", "user_id").iter_rows():
        yield () if agent is None or agent == user else (agent,)


def _digest(parts: tuple[str | None, ...]) -> str:
    joined = "\x1f".join("\x00" if part is None else part for part in parts)
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()
