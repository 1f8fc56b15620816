"""Which column holds which field: by its name first, by its values where they speak for or against it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from ai_services.enrichment.suggesting.synonyms import (
    GROUPS,
    LEG_IDS,
    SYNONYMS,
    likeness,
    plain,
)
from ai_services.enrichment.suggesting.table import Table
from ai_services.enrichment.suggesting.values import MOST_WORDS, Profile

_LEAST: Final = 0.3  # of a column's score, to be taken for a field
_IN_MS: Final = re.compile(r"(?:^|[^a-z])(?:ms|msec|millis(?:econds?|ec)?)$|毫秒", re.IGNORECASE)
_IN_S: Final = re.compile(r"(?:^|[^a-z])(?:s|secs?|seconds?)\)?$|秒", re.IGNORECASE)
_LONG_MS: Final = 3_000  # a typical call lasts longer than 3 s, and less than 50 min


@dataclass(frozen=True, slots=True)
class Guess:
    """A column for a field; `confidence` from 0 to 1, and why."""

    column: str
    confidence: float
    why: str


@dataclass(slots=True)
class Guesses:
    """By field; `group` and `leg_id` are columns of legs; `unit` of durations: s, ms, or None where
    they are written out.
    """

    fields: dict[str, Guess] = field(default_factory=dict)
    group: Guess | None = None
    leg_id: str | None = None
    unit: str | None = None
    why_unit: str = ""


def guess(table: Table) -> Guesses:
    """Each column is taken for one field, the surest pairs first."""
    profiles = {name: Profile.of(table, name) for name in table.names}
    scored = [
        (guess.confidence, name, guess)
        for name in SYNONYMS
        for profile in profiles.values()
        if profile.name
        if (guess := _score(name, profile, named=table.header)).confidence >= _LEAST
    ]
    found = Guesses()
    taken: set[str] = set()
    for _, name, one in sorted(scored, key=lambda item: (-item[0], _ORDER[item[1]])):
        if name not in found.fields and name != _AGENT and one.column not in taken:
            found.fields[name] = one
            taken.add(one.column)
    _find_agent(found, [one for _, name, one in scored if name == _AGENT], taken)
    _put_longer_first(found, profiles)
    _find_legs(found, profiles, taken)
    _find_unit(found, profiles)
    return found


_AGENT: Final = "agent_id"
_ORDER: Final[Mapping[str, int]] = {name: place for place, name in enumerate(SYNONYMS)}


def _score(name: str, profile: Profile, *, named: bool) -> Guess:
    by_name = likeness(name, profile.name) if named else 0.0
    by_value, seen = _evidence(name, profile)
    score = by_name if by_value is None else max(0.0, 0.6 * by_name + 0.4 * by_value)
    if by_value is not None and by_value <= -1:
        score = 0.0
    elif by_value is not None and by_value > 0 and not by_name:
        telling = name in _TELLING or (not named and name in ("duration_ms", "bill_ms"))
        score = 0.7 * by_value if telling else 0.0
    why = " and ".join(
        part
        for part in ("its name" if by_name else "", seen if (by_value or 0) > 0 else "")
        if part
    )
    return Guess(profile.name, round(min(score, 1.0), 2), why)


# Fields whose values alone tell what they are.
_TELLING: Final = frozenset({"started_at", "phone", "call_status", "turns", "level_name", "callid"})
_FEW_LEVELS: Final = 3  # fewer different letters by themselves say nothing


def _evidence(name: str, profile: Profile) -> tuple[float | None, str]:
    """From -1, what can't be, to 1; None where the values say nothing. And what was seen."""
    if not profile.cells:
        return (None, "") if name not in ("callid", "started_at", "call_status") else (-1.0, "")
    match name:
        case "started_at":
            return (1.0, "its times") if profile.time_formats else (-1.0, "")
        case "duration_ms" | "bill_ms":
            long = profile.is_clock or profile.numbers
            return (0.6, "its durations") if long and not profile.time_formats else (-1.0, "")
        case "rounds":
            small = profile.numbers and max(profile.numbers) <= 500
            return (0.5, "its small numbers") if small else (-1.0, "")
        case "phone":
            share = profile.phones
            return (share, "its numbers") if share >= 0.5 else (-0.2 if share else -1.0, "")
        case "call_status":
            share = profile.share_of(profile.statuses)
            if profile.filled < 0.5:
                return -1.0, ""
            if share >= 0.3:
                return share, "its words"
            return (None, "") if len(profile.distinct) <= MOST_WORDS else (-1.0, "")
        case "hangup_by":
            return (profile.share_of(profile.sides), "its words") if profile.sides else (-0.2, "")
        case "level_name":
            if profile.levels < 0.6:
                return -1.0, ""
            return (profile.levels if len(profile.distinct) >= _FEW_LEVELS else None), "its letters"
        case "turns":
            return (1.0, "its lists of turns") if profile.transcripts else (-1.0, "")
        case "callid":
            return _is_id(profile)
        case "user_id" | "agent_id" | "customer_id" | "task_id":
            wrong = profile.time_formats or profile.transcripts or profile.is_clock
            if wrong:
                return -1.0, ""
            mostly_empty = name == "user_id" and profile.filled < 0.5
            return (-0.2, "") if mostly_empty else (None, "")
    return None, ""


def _is_id(profile: Profile) -> tuple[float | None, str]:
    if profile.filled < 0.9 or profile.time_formats or profile.is_clock:
        return -1.0, ""
    if profile.phones >= 0.9 and profile.uniqueness < 1:
        return -1.0, ""
    if profile.uniqueness >= 0.99 and min(map(len, profile.cells)) >= 1:
        return 0.8, "no value twice"
    return (0.2, "") if profile.uniqueness >= 0.3 else (-1.0, "")


def _put_longer_first(found: Guesses, profiles: Mapping[str, Profile]) -> None:
    """Of two durations the longer is that of the call, ringing included, the shorter that of the talk."""
    whole, talk = found.fields.get("duration_ms"), found.fields.get("bill_ms")
    if whole is None and talk is not None:
        found.fields["duration_ms"] = found.fields.pop("bill_ms")
    elif whole is not None and talk is not None:
        long, short = profiles[whole.column].numbers, profiles[talk.column].numbers
        if long and short and sum(short) > sum(long):
            found.fields["duration_ms"], found.fields["bill_ms"] = talk, whole


def _find_agent(found: Guesses, agents: Sequence[Guess], taken: set[str]) -> None:
    """Whoever spoke may be the account as well, where no other column is the account's."""
    user = found.fields.get("user_id")
    free = [
        one for one in agents if one.column not in taken or (user and one.column == user.column)
    ]
    if free:
        found.fields[_AGENT] = max(free, key=lambda one: one.confidence)
        taken.add(found.fields[_AGENT].column)


def _find_legs(found: Guesses, profiles: Mapping[str, Profile], taken: set[str]) -> None:
    """By the name of a column that legs have in common; or because ids stand twice, with other values."""
    groups = {plain(name) for name in GROUPS}
    callid = found.fields.get("callid")
    for profile in profiles.values():
        if plain(profile.name) in groups:
            if profile.name in taken and callid is not None and callid.column == profile.name:
                continue
            found.group = Guess(profile.name, 0.9, "its name")
    if found.group is None and callid is not None and profiles[callid.column].uniqueness < 0.99:
        found.group = Guess(callid.column, 0.6, "ids stand in several rows: legs of one call")
    if found.group is not None:
        wanted = {plain(name) for name in LEG_IDS}
        found.leg_id = next(
            (p.name for p in profiles.values() if plain(p.name) in wanted and p.filled > 0.9), None
        )


def _find_unit(found: Guesses, profiles: Mapping[str, Profile]) -> None:
    columns = [
        found.fields[name].column for name in ("duration_ms", "bill_ms") if name in found.fields
    ]
    if not columns:
        return
    if all(profiles[column].is_clock for column in columns):
        return
    for column in columns:
        if _IN_MS.search(column):
            found.unit, found.why_unit = "ms", "the column's name says so"
            return
        if _IN_S.search(column):
            found.unit, found.why_unit = "s", "the column's name says so"
            return
    values = [value for column in columns for value in profiles[column].numbers if value > 0]
    found.unit = "ms" if values and median(values) >= _LONG_MS else "s"
    found.why_unit = _of_typical(values)


def _of_typical(values: Sequence[float]) -> str:
    if not values:
        return "a guess: no value is more than 0"
    return f"a guess: a typical value is {median(values):g}"
