"""Read one CSV record (RFC 4180), field by field, wherever it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.validation.reject import Problem

SEPARATORS: Final = ",;\t|^"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What parts the cells of a file, and what stands around those that hold it."""

    separator: str
    quote: str = '"'

    @property
    def sep(self) -> str:
        """The separator in regular expressions, in the dialects of both Python and polars."""
        return re.escape(self.separator) if self.separator != "\t" else r"\t"


@dataclass(frozen=True, slots=True)
class Record:
    """The record's fields; `end` is the offset of its line end, or of the end of the text."""

    fields: list[str]
    end: int


class RecordReader:
    """Reads one record, field by field, wherever it ends. Blanks around quotes don't count."""

    def __init__(self, dialect: Dialect) -> None:
        sep, quote = dialect.sep, dialect.quote
        self._separator = dialect.separator
        self._quote = quote
        blank = " " if dialect.separator == "\t" else r"[ \t]"
        self._quoted = re.compile(
            f"{blank}*+{quote}((?:[^{quote}]++|{quote}{quote})*+){quote}{blank}*+"
        )
        self._opened = re.compile(f"{blank}++{quote}")
        self._ended = re.compile(rf"{sep}|\n|\Z")
        self._plain = re.compile(rf"[^{sep}\n]*+")

    def read(self, text: str, at: int) -> Record | Problem | None:
        """The record at offset `at`; None where a quote is still open at the end of `text`."""
        fields: list[str] = []
        while True:
            if text.startswith(self._quote, at):
                match = self._quoted.match(text, at)
                if match is None:
                    return None
                fields.append(self._unquoted(match[1]))
            elif (match := self._indented(text, at)) is not None:
                fields.append(self._unquoted(match[1]))
            else:
                match = self._plain.match(text, at)
                fields.append(match[0] if match else "")
            at = match.end() if match else at
            if at >= len(text) or text[at] == "\n":
                return Record(fields, at)
            if text[at] != self._separator:
                return malformed(
                    f"field {len(fields)} goes on after its closing quote",
                    f"double the quotes ({self._quote * 2}) that are part of the text",
                )
            at += 1

    def _indented(self, text: str, at: int) -> re.Match[str] | None:
        """A quoted field after blanks; a quote that doesn't end the field is text like any other."""
        if self._opened.match(text, at) is None:
            return None
        match = self._quoted.match(text, at)
        return match if match and self._ended.match(text, match.end()) else None

    def _unquoted(self, text: str) -> str:
        return text.replace(self._quote * 2, self._quote)


def malformed(problem: str, fix: str) -> Problem:
    """A row that can't be taken apart; no field can be named."""
    return Problem("", "", problem, fix)
