"""A column map for a file that nobody has described, printed to be accepted or edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai_services.enrichment.suggesting.suggest import Suggestion
from looma_cli.terminal.console import say
from shared.phones import mask_phones

_SHOWN = 5


def tell(found: Suggestion, file: Path) -> None:
    """What came of trying the map, and what to do now; the map itself is the command's result."""
    tried = found.tried
    if found.preset is not None:
        say(f"This looks like what a preset reads: looma import {file} --preset {found.preset}")
    if found.missing:
        say(f"No column looks like {', '.join(found.missing)}: the map can't be used without.")
    elif tried.problem:
        say(f"The map can't be used as it is: {mask_phones(tried.problem)}")
    else:
        taken = tried.rows - len(tried.rejects)
        say(f"With it {taken} of the first {tried.rows} rows come in, as {tried.calls} calls.")
        for one in tried.rejects[:_SHOWN]:
            say(f"  line {one.line}: {one.field} {one.value!r} {one.problem}: {one.fix}")


def document(found: Suggestion) -> dict[str, Any]:
    return {
        "column_map": found.column_map,
        "preset": found.preset,
        "fields": {
            name: {"column": one.column, "confidence": one.confidence, "why": one.why}
            for name, one in found.fields.items()
        },
        "missing": list(found.missing),
        "rows": found.tried.rows,
        "calls": found.tried.calls,
        "rejected": len(found.tried.rejects),
        "problem": mask_phones(found.tried.problem) or None,
    }
