"""What is worth knowing about a row that came in: a field that was left empty, a part left out."""

from __future__ import annotations

from dataclasses import dataclass

from ai_services.enrichment.validation.reject import Problem, shown_problem


@dataclass(frozen=True, slots=True)
class Note:
    """A row that was taken, but not as it stands. `line` is 1-based; phone numbers are masked."""

    line: int
    field: str
    value: str
    problem: str
    fix: str


def make_notes(remarks: list[tuple[int, Problem]]) -> list[Note]:
    """Bound and mask what is kept of each remark. Values repeat: each is masked once."""
    shown: dict[Problem, tuple[str, str, str, str]] = {}
    notes = []
    for line, problem in remarks:
        if (parts := shown.get(problem)) is None:
            parts = shown[problem] = shown_problem(problem)
        notes.append(Note(line, *parts))
    return notes
