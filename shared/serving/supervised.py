"""The mark of supervised processes: a word of their command line, by which others know them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MARK: Final = "--supervised-on="


def mark(home: Path) -> str:
    """The word: it says on which home the process runs."""
    return f"{_MARK}{home}"


def home_of(command_line: Sequence[str]) -> Path | None:
    """The home of a supervised process, None for any other."""
    for word in command_line:
        if word.startswith(_MARK):
            return Path(word.removeprefix(_MARK))
    return None
