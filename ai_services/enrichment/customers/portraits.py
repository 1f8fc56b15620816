"""Asking for portraits of customers, and of the accounts that called them, to be computed again."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Final
from uuid import UUID

from shared.data_access.ports import Transaction
from shared.errors import NotFound
from shared.jobs.enqueue import enqueue

_COMPUTE: Final = "compute_portraits"  # of the portrait service
_PERIODS: Final = ("week", "month", "quarter")


async def compute_again(tx: Transaction, org_id: UUID, first: date, last: date, key: str) -> None:
    """The periods of all days from `first` to `last`, by a job that `tx` begins; once for a `key`."""
    args = {
        "period_types": list(_PERIODS),
        "first": first.isoformat(),
        "last": last.isoformat(),
    }
    with suppress(NotFound):  # the portrait service has never run: there are none
        await enqueue(tx, _COMPUTE, args, org_id=org_id, key=key)
