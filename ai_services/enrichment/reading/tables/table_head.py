"""Find the line of a table that names its columns, wherever the table comes from.

Exports put titles, dates and blank lines above it, or leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.columns import fold
from ai_services.enrichment.reading.refusal import FileRefused, refuse
from ai_services.enrichment.reading.tables.layout import Layout

_SURELY: Final = 2  # wanted names in one line are no chance
LOOKED_AT: Final = 50  # lines among which the header is looked for
# Chooses from the header's names: new name → position. May refuse the file.
Choose = Callable[[Sequence[str]], Mapping[str, int]]
Tell = Callable[[str], None]
# Times and numbers: no column is called that.
_DATA: Final = re.compile(
    r"\s*+(?:\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}.*|\d{1,2}[/.]\d{1,2}[/.]\d{4}.*|\d{1,2}:\d\d.*"
    r"|[-+(]?\d[\d\s().,-]*+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class TableReader:
    """What the readers of tables share: the column names that the preset knows, folded; what its
    map says of the shape of the file; how columns are chosen; where notes go.
    """

    path: CallFile
    known: Collection[str]
    layout: Layout
    choose: Choose
    tell: Tell

    def fit(self, names: Sequence[str]) -> int:
        """How many different columns that are wanted have these names."""
        return len({fold(name) for name in names} & set(self.known))

    def given_names(self, width: int) -> list[str]:
        """The names of a file without header line: those the map gives, or its positions.

        What nobody asks for has none, so that no note is made of it.
        """
        names = list(self.layout.header or map(str, range(1, width + 1)))
        if len(names) > width:
            problem = f"has {width} columns; the column map names {len(names)}"
            raise refuse(self.path, problem, "name the columns that are there", "header")
        names += [""] * (width - len(names))
        return [name if fold(name) in self.known else "" for name in names]

    def expects_no_header(self, fit: int) -> bool:
        """Whether the map says that there is none, and no line that has so many of the wanted names
        says otherwise.
        """
        named = self.layout.header
        return named is not None and (not named or fit < _SURELY)

    def missing_header(self, cells: Sequence[str]) -> FileRefused | None:
        """The refusal of a first row that holds values, which are told to nobody."""
        if self.fit(cells) or not any(map(_DATA.fullmatch, cells)):
            return None
        return refuse(
            self.path,
            f"has no header line: its first line looks like a call ({len(cells)} columns)",
            'write the names of the columns above it, or in a column map: header = ["callid", …] '
            "in their order, or header = false and positions (callid = 1)",
            "header",
        )

    def tell_skipped(self, line: int, skipped: int) -> None:
        if skipped:
            what = "line before it is" if skipped == 1 else f"{skipped} lines before it are"
            self.tell(f"The names of the columns stand in line {line}; the {what} left out.")


def clean_name(name: str) -> str:
    """As it is compared; what marks the line as a comment doesn't count."""
    return name.strip().lstrip("#").strip()


def best_row(rows: Iterator[tuple[int, Sequence[str]]], reader: TableReader) -> int | None:
    """The number of the row that names most of the wanted columns; of equal ones the first."""
    best, found = 0, None
    for number, cells in rows:
        fit = reader.fit([clean_name(cell) for cell in cells])
        if fit > best:
            best, found = fit, number
    return found
