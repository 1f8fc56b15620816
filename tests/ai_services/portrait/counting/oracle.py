"""What all portraits must be, in plain Python from the calls as they stand; shares no code with the service."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from tests.ai_services.portrait.calls import Organisation, differences, figures_of, periods_of

Call = Any  # a row of call_record_enriched, by attribute

_TABLES: Final = {
    "user": "user_portrait_snapshot",
    "customer": "customer_portrait_snapshot",
    "task": "task_portrait_snapshot",
    "agent": "agent_portrait_snapshot",
}


@dataclass(frozen=True)
class _Row:
    """A call by attribute."""

    of: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.of[name]


async def assert_counted(organisation: Organisation) -> int:
    """Every portrait is that of the calls in the database; how many calls that are. Nothing is pending."""
    async with organisation.db.tenant(organisation.org_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM portrait_change") == 0
        zone = ZoneInfo(await tx.fetchval("SELECT timezone FROM organisation"))
        calls = [_Row(dict(row)) for row in await tx.fetch("SELECT * FROM call_record_enriched")]
        stored = {name: await tx.fetch(f"SELECT * FROM {table}") for name, table in _TABLES.items()}
        sums = await tx.fetch("SELECT * FROM period_summary")
        hours = await tx.fetch("SELECT * FROM portrait_hour WHERE calls <> 0 OR connected <> 0")
        durations = await tx.fetch("SELECT * FROM portrait_duration WHERE calls <> 0")
        periods = await tx.fetch("SELECT * FROM period_registry")
    local = [(call, call.started_at.astimezone(zone)) for call in calls]
    assert [call.call_date for call in calls] == [at.date() for _, at in local]
    _check_snapshots(stored, local)
    _check_sums(sums, local)
    _check_days(hours, durations, local)
    touched = {key for _, at in local for key in _keys(at)}
    assert touched <= {(row["period_type"], row["period_key"]) for row in periods}
    return len(calls)


def _keys(at: Any) -> list[tuple[str, str]]:
    return [(period_type, key) for period_type, (key, _, _) in periods_of(at.date()).items()]


def _figures(calls: list[Any]) -> dict[str, Any]:
    connected = [call for call in calls if call.call_status == "connected"]
    failed = Counter(call.call_status for call in calls)
    return {
        **figures_of(calls),
        **{f"{reason}_count": failed[reason] for reason in (
            "busy", "no_answer", "power_off", "invalid_number", "rejected", "failed")},
        "analysed_calls": sum(call.llm_analyzed_at is not None for call in connected),
        "degraded_calls": sum(call.degraded for call in connected),
    }  # fmt: skip


def _check_snapshots(stored: dict[str, Any], local: list[tuple[Any, Any]]) -> None:
    for name, rows in stored.items():
        groups: defaultdict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for call, at in local:
            for place in _keys(at):
                if (subject := call.of[f"{name}_id"]) is not None:
                    groups[(*place, subject)].append(call)
        found = {(row["period_type"], row["period_key"], row[f"{name}_id"]): row for row in rows}
        assert found.keys() == groups.keys(), name
        for key, calls in groups.items():
            assert not differences(found[key], _figures(calls)), (name, key)


def _check_sums(sums: Any, local: list[tuple[Any, Any]]) -> None:
    groups: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for call, at in local:
        for place in _keys(at):
            groups[place].append(call)
    found = {(row["period_type"], row["period_key"]): row for row in sums}
    assert found.keys() == groups.keys()
    for key, calls in groups.items():
        wanted = {name: value for name, value in _figures(calls).items() if name in found[key]}
        assert not differences(found[key], wanted), key
        assert found[key]["users"] == len({call.user_id for call in calls}), key
        customers = {call.customer_id for call in calls} - {None}
        assert found[key]["customers"] == len(customers), key


def _check_days(hours: Any, durations: Any, local: list[tuple[Any, Any]]) -> None:
    by_hour: Counter[Any] = Counter()
    connected: Counter[Any] = Counter()
    buckets: Counter[Any] = Counter()
    for call, at in local:
        subjects = [("organisation", ""), ("user", call.user_id)]
        subjects += [(name, call.of[f"{name}_id"]) for name in ("task", "agent")]
        for dimension, subject in subjects:
            if subject is None:
                continue
            by_hour[dimension, subject, at.date(), at.hour] += 1
            if call.call_status == "connected":
                connected[dimension, subject, at.date(), at.hour] += 1
                buckets[dimension, subject, at.date(), bucket(call.duration_ms)] += 1

    def place(row: Any, last: str) -> tuple[Any, ...]:
        return row["dimension"], row["subject"], row["call_date"], row[last]

    assert {place(row, "hour"): row["calls"] for row in hours} == by_hour
    assert {place(row, "hour"): row["connected"] for row in hours if row["connected"]} == connected
    assert {place(row, "bucket"): row["calls"] for row in durations} == buckets


def bucket(milliseconds: int) -> int:
    """Seven leading bits, and how many follow them."""
    more = max(0, milliseconds.bit_length() - 7)
    return more * 64 + (milliseconds >> more)
