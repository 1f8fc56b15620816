"""Match a file's columns with the fields of a call record, and name what doesn't match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ai_services.enrichment.file_format import FileRefused
from ai_services.enrichment.presets.preset import Preset
from ai_services.enrichment.record import REQUIRED
from shared.errors import Detail


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The name that cells go by from here on → position of their column in the file."""

    positions: Mapping[str, int]
    warnings: Sequence[str]


def known_columns(preset: Preset) -> set[str]:
    """Every column name that the preset reads or knowingly leaves out, folded for comparing."""
    return {fold(name) for name in (*preset.sources.values(), *preset.reads, *preset.ignore)}


def plan_columns(found: Sequence[str], preset: Preset, *, strict: bool) -> ColumnPlan:
    """Choose the columns to read; refuse the file where one that is needed is missing.

    Names are compared without case and surrounding blanks. `strict` refuses unknown columns.
    """
    positions = _positions(found, preset)
    chosen: dict[str, int] = {}
    missing: list[str] = []
    warnings: list[str] = []
    if preset.derive is not None:
        wanted = {name: name for name in preset.reads}
        required = set(preset.reads)
    else:
        wanted = preset.sources
        required = {*REQUIRED, "duration_ms"}
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
    told = ", ".join(_with_suggestion(name, preset) for name in unknown)
    if strict:
        raise FileRefused(
            f"The file has unknown columns: {told}.",
            details=[
                Detail(name, "is not a column of a call record", "rename, map, ignore or remove it")
                for name in unknown
            ],
        )
    return [f"Unknown columns are not imported: {told}."]


def missing_columns(missing: Iterable[str], found: Iterable[str]) -> FileRefused:
    """The refusal of a file that lacks required columns."""
    names, have = list(missing), [name for name in found if name.strip()]
    told, listed = ", ".join(map(repr, names)), ", ".join(map(repr, have)) or "none"
    fix = "add the column, or map another one to it in a column map (docs/import.md)"
    return FileRefused(
        f"The file lacks {told}. Columns found: {listed}. To fix: {fix}.",
        details=[Detail(name, f"no such column; found: {listed}", fix) for name in names],
    )


def fold(name: str) -> str:
    """Column names are the same if they differ only in case and blanks around them."""
    return name.strip().casefold()


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that looks most like `name`, if any does."""
    by_folded = {fold(candidate): candidate for candidate in candidates}
    near = difflib.get_close_matches(fold(name), by_folded, n=1)
    return by_folded[near[0]] if near else None


def _with_suggestion(name: str, preset: Preset) -> str:
    near = nearest(name, preset.reads or preset.sources.values())
    return f"{name!r} (did you mean {near!r}?)" if near else repr(name)


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
