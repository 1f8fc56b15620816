"""A leg: one of the rows that a PBX writes for one call, for a queue, a transfer or a ring group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from shared.calls import CONNECTED

# Of one call. A column that isn't one call's own, a customer's number say, makes calls without end.
MAX_LEGS: Final = 5_000


class Leg(NamedTuple):
    """What a row says of its leg. `turns` count their times from the start of the leg."""

    leg_id: str
    task_id: str | None
    agent_id: str | None
    user_id: str
    customer_id: str | None
    started_at: dt.datetime
    duration_ms: int
    bill_ms: int
    rounds: int
    level_name: str | None
    hangup_by: int | None
    call_status: str
    phone_cipher: bytes | None
    phone_masked: str | None
    turns: Sequence[Mapping[str, Any]] | None

    @property
    def connected(self) -> bool:
        return self.call_status == CONNECTED

    @property
    def ended_at(self) -> dt.datetime:
        return self.started_at + dt.timedelta(milliseconds=self.duration_ms)

    @property
    def talk_from(self) -> dt.datetime:
        """Whoever talks does so until the leg ends."""
        return self.ended_at - dt.timedelta(milliseconds=self.bill_ms)
