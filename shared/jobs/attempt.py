"""One attempt at a job: the handler within its bounds, and what becomes of the job after it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from shared.errors import JobInVain, JobStopped, LoomaError, StopReason, StoreUnavailable
from shared.jobs.backoff import pause_after
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType
from shared.jobs.json_values import MAX_ARGS_BYTES, checked_json
from shared.jobs.store.state import State
from shared.phones import mask_phones

_LONGEST_ERROR: Final = 2000
_STORE_AWAY_S: Final = 5.0  # between two attempts while a store is away; they don't count
_log = structlog.get_logger("looma.jobs")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job is to be after an attempt; it begins again after `after_s` seconds if it waits."""

    state: State
    after_s: float = 0.0
    failed: bool = False
    error: str | None = None
    result: Mapping[str, Any] | None = None


async def attempt(
    kind: JobType[Any], context: JobContext[Any], args: Mapping[str, Any], spent_s: float
) -> Outcome | None:
    """Run the handler for what is left of its time; None if the claim was lost meanwhile.

    Nothing that it raises passes through, but a cancellation that no reason was given for.
    """
    limit = asyncio.timeout(max(0.0, kind.time_limit.total_seconds() - spent_s))
    try:
        async with limit:
            result = await kind.handler(context, args)
        if result is not None:
            result = checked_json("result", result, MAX_ARGS_BYTES)
        return Outcome("succeeded", result=result)
    except JobStopped as stopped:
        return _stopped(stopped.reason)
    except asyncio.CancelledError:
        if context.stopped is None:
            raise
        return _stopped(context.stopped)
    except Exception as error:  # noqa: BLE001 - the edge of a job: kept with it, and logged
        if context.stopped is not None:  # a task group of the handler's raises it within a group
            return _stopped(context.stopped)
        away = _store_away(error)
        if away is not None:
            _log.warning("job_waits", job=kind.name, job_id=context.job_id, reason=away.message)
            pause = _STORE_AWAY_S * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
            return Outcome("waiting", after_s=pause, error=_told(away))
        if limit.expired():
            return _failed(kind, context, f"The time limit of {kind.time_limit} was over.")
        _log.warning("job_failed", job=kind.name, job_id=context.job_id, exc_info=error)
        return _failed(kind, context, _told(error), in_vain=isinstance(error, JobInVain))


def _store_away(error: Exception) -> StoreUnavailable | None:
    """That a store is away, if this error says so, on its own or among those of a task group."""
    while isinstance(error, ExceptionGroup):
        error = next((one for one in error.exceptions if _store_away(one)), error.exceptions[0])
    return error if isinstance(error, StoreUnavailable) else None


def _stopped(reason: StopReason) -> Outcome | None:
    """By whom it was stopped: a process that ends gives its jobs back."""
    if reason == "lost":
        return None
    return Outcome("queued") if reason == "shutdown" else Outcome(reason)


def _failed(
    kind: JobType[Any], context: JobContext[Any], error: str, *, in_vain: bool = False
) -> Outcome:
    failures = context.failures + 1
    if in_vain or failures >= kind.retry.failures:
        return Outcome("dead", failed=True, error=error)
    pause = pause_after(kind.retry, failures, random.random())  # noqa: S311 - spreads load
    return Outcome("waiting", after_s=pause, failed=True, error=error)


def _told(error: Exception) -> str:
    """What is kept of an error, and shown: texts that are not ours may hold anything."""
    text = error.message if isinstance(error, LoomaError) else "The log has the details."
    writable = f"{type(error).__name__}: {text}".encode(errors="replace").decode()
    return mask_phones(writable.replace("\0", ""))[:_LONGEST_ERROR]
