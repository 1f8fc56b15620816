"""A piece of a file on its way to validation: a table of cells and what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ai_services.enrichment.reading.content.lines import Cut, LongLine
from ai_services.enrichment.validation.reject import Problem, excerpt

_STRAY: Final = "; a stray quote or missing line ends may be the cause"


@dataclass(frozen=True, slots=True)
class Piece:
    """`table` has `line` and cells; `problems` are unreadable rows by line; `raw(line)` is a
    row as it stands in the file; `size` is the piece's share of the decompressed file.
    """

    table: pl.DataFrame
    problems: Sequence[tuple[int, Problem]]
    raw: Callable[[int], str]
    bytes_read: int
    size: int
    cut: bool = False


def piece_of_event(event: LongLine | Cut, max_line_bytes: int) -> Piece:
    """The rejected row for a line that was passed over, or in which the file ends."""
    if isinstance(event, LongLine):
        problem = too_long(event.size, max_line_bytes, _STRAY)
    else:
        problem = Problem(
            "",
            "",
            "the file is cut off or damaged here; rows from here on are lost",
            "copy the file again and import it again: rows already taken are not doubled",
        )
    start = event.start.decode("utf-8", errors="replace")
    start = excerpt(start, chars=len(start) - 1)  # the line goes on
    return Piece(
        pl.DataFrame(schema={"line": pl.UInt64}),
        [(event.line, problem)],
        lambda _line: start,
        event.bytes_read,
        size=0,
        cut=isinstance(event, Cut),
    )


def too_long(size: int, most: int, maybe: str = "") -> Problem:
    """The problem of a row of `size` bytes; `maybe` says what else may be the cause."""
    return Problem(
        "",
        f"{size} bytes",
        f"is {size:,} bytes long, more than {most:,}",
        f"split or shorten the row{maybe}",
    )


def not_text(line: bytes, encoding: str, error: UnicodeDecodeError) -> Problem:
    """The problem of a line whose bytes are no text in the given encoding."""
    byte = line[error.start]
    at = len(line[: error.start].decode(encoding, errors="replace"))
    return Problem(
        "",
        excerpt(line.decode(encoding, errors="replace"), at - 20, 40),
        f"is not {encoding}: byte 0x{byte:02X} at position {error.start + 1}",
        _other_encoding(encoding),
    )


def _other_encoding(encoding: str) -> str:
    """What to do, without proposing the encoding that was not the right one."""
    if encoding == "utf-8":
        return "re-save the file as UTF-8, or pass its encoding (for example --encoding gbk)"
    return "correct the row, or pass the encoding that the file is in, or re-save it as UTF-8"
