"""What a column map says about the shape of a file; whatever it leaves open is found by content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Detail

_MOST_SKIPPED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Layout:
    """`header`: the names of the columns of a file that has no header line; () where columns go by
    their position, counted from 1; None where the file names them. `totals` are what a row that is
    no call begins with, beside the usual words. `skip_rows` lines stand before the header.
    """

    header: tuple[str, ...] | None = None
    skip_rows: int | None = None
    separator: str | None = None
    comment: str | None = None
    totals: tuple[str, ...] = ()
    sheet: str | None = None


LAYOUT_KEYS: Final = ("header", "skip_rows", "separator", "comment", "totals", "sheet")


def check_layout(raw: Mapping[str, Any]) -> list[Detail]:
    """The mistakes of a parsed column map that are about the shape of its files."""
    wrong: list[Detail] = []
    header = raw.get("header", True)
    if not isinstance(header, bool) and not (header and _is_names(header)):
        fix = 'write header = false, or the names in their order: header = ["callid", …]'
        wrong.append(Detail("header", "is neither false nor a list of names", fix))
    skipped = raw.get("skip_rows", 0)
    if isinstance(skipped, bool) or not isinstance(skipped, int) or not _fits(skipped):
        fix = "write how many lines stand before the header, for example 3"
        wrong.append(Detail("skip_rows", f"is no number from 0 to {_MOST_SKIPPED:,}", fix))
    separator = raw.get("separator", ",")
    if not _is_character(separator) or separator in "\"'\n\r\\" or separator.isalnum():
        fix = 'write a comma, a semicolon, a tab ("\\t"), | or ^'
        wrong.append(Detail("separator", "is not one character that can part cells", fix))
    comment = raw.get("comment", "#")
    if not isinstance(comment, str) or not comment.strip() or not comment.isascii():
        fix = 'write what such lines begin with, for example "#"'
        wrong.append(Detail("comment", "is no mark of lines that are comments", fix))
    if not _is_names(raw.get("totals", [])):
        fix = 'write what such rows begin with: totals = ["Summe"]'
        wrong.append(Detail("totals", "is not a list of texts", fix))
    if not isinstance(raw.get("sheet", "x"), str) or not raw.get("sheet", "x").strip():
        wrong.append(Detail("sheet", "is no name of a sheet", 'write sheet = "Sheet1"'))
    return wrong


def read_layout(raw: Mapping[str, Any]) -> Layout:
    """Of a map without mistakes. A list of `columns` names them in their order, too."""
    header = raw.get("header", True)
    columns = raw.get("columns")
    names = columns if isinstance(columns, list) else None if header is True else header or ()
    return Layout(
        header=None if names is None else tuple(names),
        skip_rows=raw.get("skip_rows"),
        separator=raw.get("separator"),
        comment=raw.get("comment"),
        totals=tuple(raw.get("totals", ())),
        sheet=raw.get("sheet"),
    )


def _fits(skipped: int) -> bool:
    return 0 <= skipped <= _MOST_SKIPPED


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_character(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii()
