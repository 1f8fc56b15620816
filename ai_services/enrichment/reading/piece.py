"""A piece of a file on its way to validation: a table of cells and what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from ai_services.enrichment.reading.lines import Cut, LongLine
from ai_services.enrichment.validation.reject import Problem, excerpt


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
        problem = Problem(
            "",
            f"{event.size} bytes",
            f"is {event.size:,} bytes long, more than {max_line_bytes:,}",
            "split or shorten the row; a stray quote or missing line ends may be the cause",
        )
    else:
        problem = Problem(
            "",
            "",
            "the compressed file is cut off or damaged here; rows from here on are lost",
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


def not_text(line: bytes, encoding: str, error: UnicodeDecodeError) -> Problem:
    """The problem of a line whose bytes are no text in the given encoding."""
    byte = line[error.start]
    at = len(line[: error.start].decode(encoding, errors="replace"))
    return Problem(
        "",
        excerpt(line.decode(encoding, errors="replace"), at - 20, 40),
        f"is not {encoding}: byte 0x{byte:02X} at position {error.start + 1}",
        "re-save the file as UTF-8, or pass its encoding (for example --encoding gbk)",
    )
