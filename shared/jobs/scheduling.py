"""Schedules: jobs that are due are queued, once; organisations' choices are checked and kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from cronsim import CronSimError

from shared.data_access.ports import Transaction
from shared.errors import Conflict, InvalidInput
from shared.jobs.cron import check_cron, check_zone, last_run, next_run
from shared.jobs.job_type import JobType
from shared.jobs.store import queue, schedules

_AT_ONCE: Final = 100
_log = structlog.get_logger("looma.jobs")


async def settle_schedules(tx: Transaction, names: Collection[str]) -> int:
    """Bring the schedules of these names in line with what is declared and chosen; how many changed.

    A schedule that is new, or whose expression or zone has changed, runs at its next time from now.
    """
    found = await schedules.stale(tx, names, _AT_ONCE)
    for one in found:
        await schedules.put_schedule(tx, one, _next_or_none(one.name, one.cron, one.zone, one.now))
    return len(found)


async def queue_due(tx: Transaction, types: Mapping[str, JobType[Any]]) -> int:
    """Queue a job for each schedule whose time has come; returns how many.

    However many times were missed, it runs once, for the latest of them.
    """
    found = await schedules.due(tx, list(types), _AT_ONCE)
    for one in found:
        after = _next_or_none(one.name, one.cron, one.zone, one.now)
        ran_for = one.next_at
        if after is not None:
            ran_for = last_run(one.cron, check_zone("zone", one.zone), one.next_at, one.now)
        await queue.add(
            tx,
            org_id=one.org_id,
            name=one.name,
            args={},
            priority=types[one.name].priority,
            exclusive=types[one.name].exclusive,
            schedule_id=one.schedule_id,
            scheduled_for=ran_for,
        )
        await schedules.fired(tx, one.schedule_id, ran_for, after)
    return len(found)


async def change_schedule(
    tx: Transaction, schedule_id: int, *, cron: str | None = None, paused: bool | None = None
) -> schedules.Schedule:
    """Choose another time for an organisation, pause its schedule or let it run again.

    What is None stays; what was missed while it was paused isn't made up for. Raises InvalidInput,
    NotFound.
    """
    one = await schedules.get_schedule(tx, schedule_id)
    expression = one.cron if cron is None else check_cron("cron", cron)
    next_at = one.next_at
    if cron is not None or (one.paused and paused is False):
        moment = await schedules.now(tx)
        next_at = next_run(expression, check_zone("zone", one.zone), moment)
    await schedules.set_schedule(
        tx,
        schedule_id,
        cron=expression,
        own=one.own or cron is not None,
        paused=one.paused if paused is None else paused,
        next_at=next_at,
    )
    return await schedules.get_schedule(tx, schedule_id)


async def reset_schedule(tx: Transaction, schedule_id: int) -> None:
    """Give up the organisation's own choice: the declared time holds again within a minute."""
    one = await schedules.get_schedule(tx, schedule_id)
    await schedules.set_schedule(
        tx, schedule_id, cron=one.cron, own=False, paused=one.paused, next_at=one.next_at
    )


async def run_now(tx: Transaction, schedule_id: int) -> int:
    """Queue the job of a schedule at once, beside its times; its id.

    Conflict while an earlier job of the schedule is unfinished: they don't overlap. NotFound.
    """
    one = await schedules.get_schedule(tx, schedule_id)
    declared = (await schedules.declared_types(tx, one.name))[0]
    added = await queue.add(
        tx,
        org_id=one.org_id,
        name=one.name,
        args={},
        priority=declared.priority,
        exclusive=declared.exclusive,
        schedule_id=schedule_id,
    )
    if not added.created:
        raise Conflict(f"Job {added.job_id} of this schedule is unfinished. Wait, or cancel it.")
    return added.job_id


def _next_or_none(name: str, cron: str, zone: str, after: datetime) -> datetime | None:
    """A schedule that can't be read, as its zone isn't known here, must not hold up the others."""
    try:
        return next_run(cron, check_zone("zone", zone), after)
    except (InvalidInput, CronSimError) as error:
        _log.error("schedule_unreadable", job=name, cron=cron, zone=zone, reason=str(error))
        return None
