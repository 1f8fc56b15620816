"""Match a file's columns with the fields of a call record, and name what doesn't match."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.legs.rows import GROUP
from ai_services.enrichment.reading.file_format import FileRefused
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.validation.record import REQUIRED
from ai_services.enrichment.validation.reject import excerpt
from shared.errors import Detail
from shared.ids import one_spelling
from shared.phones import mask_written

_SHOWN: Final = 50
_SHOWN_CHARS: Final = 100
# What other systems call the fields that every file needs.
KNOWN_AS: Final[Mapping[str, tuple[str, ...]]] = {
    "callid": ("call_id", "uniqueid", "callsid", "sid", "record_id", "uuid", "id",
               "通话id", "通话编号", "呼叫id", "话单id", "流水号"),
    "user_id": ("user", "account", "accountcode", "account_id", "src", "caller", "from", "team", "账号",
                "账户", "用户id", "坐席", "坐席工号", "坐席id", "员工", "agent", "agent_id"),
    "started_at": ("start", "start_time", "starttime", "calldate", "call_time", "begin_time",
                   "begincalltime", "date", "time", "timestamp",
                   "开始时间", "呼叫时间", "通话时间", "通话开始时间", "拨打时间"),
    "duration_ms": ("duration", "billsec", "call_duration", "talk_time", "talking", "callduration",
                    "通话时长", "时长", "通话时长(秒)"),
    "call_status": ("status", "disposition", "call_result", "result", "state", "callstatus",
                    "呼叫状态", "通话状态", "状态", "呼叫结果", "通话结果", "是否接通"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The name that cells go by from here on → position of their column in the file."""

    positions: Mapping[str, int]
    warnings: Sequence[str]


def known_columns(preset: Preset) -> set[str]:
    """Every column name that the preset reads or knowingly leaves out, folded for comparing."""
    return {
        fold(name)
        for name in (*preset.sources.values(), *preset.reads, *preset.may_read, *preset.ignore)
    }


def plan_columns(found: Sequence[str], preset: Preset, *, strict: bool) -> ColumnPlan:
    """Choose the columns to read; refuse the file where one that is needed is missing.

    Names are compared without case and surrounding blanks. `strict` refuses unknown columns.
    """
    positions = _positions(found, preset)
    chosen: dict[str, int] = {}
    missing: list[str] = []
    warnings: list[str] = []
    if preset.derive is not None:
        wanted = {name: name for name in (*preset.reads, *preset.may_read)}
        required = set(preset.reads)
    else:
        wanted = preset.sources
        parts = (part for name in REQUIRED for part in preset.joined.get(name, ()))
        required = {*REQUIRED, "duration_ms", GROUP, *parts}
    for field, source in wanted.items():
        position = positions.get(fold(source))
        if position is not None:
            chosen[field] = position
        elif field in required:
            missing.append(source)
        elif source != field:
            warnings.append(f"The file has no column {source!r}; {field} stays empty.")
    if missing:
        raise missing_columns(missing, found)
    unknown = [name for name in found if name.strip() and fold(name) not in known_columns(preset)]
    return ColumnPlan(chosen, [*warnings, *judge_unknown(unknown, preset, strict=strict)])


def judge_unknown(unknown: Sequence[str], preset: Preset, *, strict: bool) -> list[str]:
    """One warning for all unknown columns, with the nearest known name; or the refusal."""
    if not unknown:
        return []
    told = ", ".join(_with_suggestion(name, preset) for name in unknown[:_SHOWN])
    if len(unknown) > _SHOWN:
        told += f" and {len(unknown) - _SHOWN} more"
    if strict:
        raise FileRefused(
            f"The file has unknown columns: {told}.",
            details=[
                Detail(
                    mask_written(name),
                    "is not a column of a call record",
                    "rename, map, ignore or remove it",
                )
                for name in unknown
            ],
        )
    return [f"Unknown columns are not imported: {told}."]


def missing_columns(missing: Iterable[str], found: Iterable[str]) -> FileRefused:
    """The refusal of a file that lacks required columns."""
    names = list(missing)
    have = [mask_written(name.strip())[:_SHOWN_CHARS] for name in found if name.strip()]
    listed = ", ".join(map(repr, have[:_SHOWN])) or "none"
    if len(have) > _SHOWN:
        listed += f" and {len(have) - _SHOWN} more"
    told = ", ".join(map(repr, names))
    return FileRefused(
        f"The file lacks {told}. Columns found: {listed}. {_hint(names, have)}",
        details=[
            Detail(name, "is no column of the file", _fix_of(likely(name, have))) for name in names
        ],
    )


def _fix_of(source: str | None) -> str:
    if source is None:
        return "add the column, or map another one to it in a column map (docs/import.md)"
    return f"rename {source!r}, or map it in a column map (docs/import.md)"


def _hint(names: Sequence[str], have: Sequence[str]) -> str:
    """A column map to begin with, where a column that is there may be one that is needed."""
    found = [(name, source) for name in names if (source := likely(name, have))]
    if not found:
        with_digits = sum(any(map(str.isdigit, name)) for name in have)
        if with_digits * 2 > len(have):
            return "Its first line looks like a call: write the names of the columns above it."
        return "Add them, or map other columns to them in a column map (docs/import.md)."
    lines = "\n".join(
        f"  {name} = {json.dumps(source, ensure_ascii=False)}" for name, source in found
    )
    return f"A column map to begin with:\n  [columns]\n{lines}"


def likely(name: str, have: Iterable[str]) -> str | None:
    """The column that probably holds field `name`: by the names it is known by, or by likeness."""
    by_plain = {_plain(column): column for column in have}
    for known in (name, *KNOWN_AS.get(name, ())):
        if (column := by_plain.get(_plain(known))) is not None:
            return column
    near = difflib.get_close_matches(_plain(name), by_plain, n=1, cutoff=0.75)
    return by_plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]", "", name).casefold()


def fold(name: str) -> str:
    """Column names are the same if they differ only in case and blanks around them."""
    return one_spelling(name.strip()).casefold()


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that looks most like `name`, if any does."""
    by_folded = {fold(candidate): candidate for candidate in candidates}
    near = difflib.get_close_matches(fold(name), by_folded, n=1)
    return by_folded[near[0]] if near else None


def _with_suggestion(name: str, preset: Preset) -> str:
    near = nearest(name, preset.reads or preset.sources.values())
    shown = mask_written(repr(excerpt(name, chars=_SHOWN_CHARS)))
    return f"{shown} (did you mean {near!r}?)" if near else shown


def _positions(found: Sequence[str], preset: Preset) -> dict[str, int]:
    positions: dict[str, int] = {}
    known = known_columns(preset)
    for position, name in enumerate(found):
        if fold(name) in positions and fold(name) in known:
            raise FileRefused(
                f"The column {name!r} stands twice in the file.",
                details=[Detail(name, "is there twice", "rename or remove one of them")],
            )
        positions.setdefault(fold(name), position)
    return positions
