"""Read one CSV record (RFC 4180), field by field, wherever it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.validation.reject import Problem

SEPARATORS: Final = ",;\t|"
# In the dialects of both Python's and polars' regular expressions.
PATTERNS: Final = {",": ",", ";": ";", "\t": r"\t", "|": r"\|"}


@dataclass(frozen=True, slots=True)
class Record:
    """The record's fields; `end` is the offset of its line end, or of the end of the text."""

    fields: list[str]
    end: int


class RecordReader:
    """Reads one record, field by field, wherever it ends."""

    def __init__(self, separator: str) -> None:
        sep = PATTERNS[separator]
        self._separator = separator
        self._quoted = re.compile(r'"((?:[^"]++|"")*+)"')
        self._plain = re.compile(rf"[^{sep}\n]*+")

    def read(self, text: str, at: int) -> Record | Problem | None:
        """The record at offset `at`; None where a quote is still open at the end of `text`."""
        fields: list[str] = []
        while True:
            if text.startswith('"', at):
                match = self._quoted.match(text, at)
                if match is None:
                    return None
                fields.append(match[1].replace('""', '"'))
            else:
                match = self._plain.match(text, at)
                fields.append(match[0] if match else "")
            at = match.end() if match else at
            if at >= len(text) or text[at] == "\n":
                return Record(fields, at)
            if text[at] != self._separator:
                return malformed(
                    f"field {len(fields)} goes on after its closing quote",
                    'double the quotes ("") that are part of the text',
                )
            at += 1


def malformed(problem: str, fix: str) -> Problem:
    """A row that can't be taken apart; no field can be named."""
    return Problem("", "", problem, fix)
