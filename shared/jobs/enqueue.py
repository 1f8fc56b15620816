"""Asking for a job, in the transaction of what makes it necessary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from shared.data_access.ports import Transaction
from shared.errors import InvalidInput, NotFound
from shared.jobs.job_type import JobType
from shared.jobs.json_values import MAX_ARGS_BYTES, checked_json
from shared.jobs.store import queue, schedules
from shared.jobs.store.queue import Enqueued

_LONGEST_KEY: Final = 200
_LONGEST_DELAY_S: Final = 366 * 86400.0


async def enqueue(
    tx: Transaction,
    kind: JobType[Any] | str,
    args: Mapping[str, Any],
    *,
    org_id: UUID | None,
    key: str | None = None,
    delay_s: float = 0.0,
) -> Enqueued:
    """Have a job done once `tx` is committed; if it is rolled back, there is none.

    `kind` is the type, or the name of one that any service has declared (NotFound if none has).
    `org_id` None is the platform's own, from a system transaction only. With `key` there is at most
    one unfinished job of that organisation, name and key: the one there is is returned, untouched.
    Raises InvalidInput for arguments that aren't JSON or have more than 16 KiB.
    """
    values = checked_json("args", args, MAX_ARGS_BYTES)
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and "\0" not in key):
        fix = f"send 1 to {_LONGEST_KEY} characters"
        raise InvalidInput.of("key", "is empty, too long or contains U+0000", fix)
    if not 0 <= delay_s <= _LONGEST_DELAY_S:
        raise InvalidInput.of("delay_s", f"is {delay_s}", "send 0 seconds to a year")
    name, priority, exclusive = await _bounds(tx, kind)
    return await queue.add(
        tx,
        org_id=org_id,
        name=name,
        args=values,
        priority=priority,
        exclusive=exclusive,
        dedupe_key=key,
        delay_s=delay_s,
    )


async def _bounds(tx: Transaction, kind: JobType[Any] | str) -> tuple[str, int, bool]:
    if not isinstance(kind, str):
        return kind.name, kind.priority, kind.exclusive
    found = await schedules.declared_types(tx, kind)
    if not found:
        raise NotFound(f"No service has declared a job {kind[:100]!r}.")
    return found[0].name, found[0].priority, found[0].exclusive
