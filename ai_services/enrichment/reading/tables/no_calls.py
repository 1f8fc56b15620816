"""Rows of a table that are no calls: totals below them, and comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from ai_services.enrichment.reading.tables.layout import Layout
from ai_services.enrichment.validation.record import REQUIRED

_WORDS: Final = (
    "合计", "总计", "小计", "共计", "总数", "总条数", "汇总", "平均", "合計", "總計", "小計", "共計",
    "總數", "匯總", "grand total", "sub total", "subtotal", "sub-total", "totals", "total", "sum",
    "summary", "average", "avg",
)  # fmt: skip
_COUNTS: Final = (
    r"(?:总|總)?[共计計]\s*+[:：]?\s*+\d[\d,]*+\s*+[条條笔筆行个個次通项項页頁].*",
    r"(?:记录|記錄|数据|數據|总|總)?(?:条|條|笔|筆|行|记录|記錄)?数?數?\s*+[:：]\s*+\d[\d,]*+\s*\D?",
    r"\(?\d[\d,]* (?:rows?|records?|calls?|lines?)\b.*",
    r"(?:rows?|records?|calls?|count|number of (?:rows|records|calls)) ?[:=] ?\d[\d,]*",
    r"[-=*]+ ?(?:end|eof|完|结束|結束).*",
    r"end of (?:report|file|export|data)\b.*",
    r"page \d+(?: of \d+)?|第\s*+\d+\s*+[页頁].*",
)
# Of a line below the calls that has nothing else in it.
_FOOTERS: Final = (
    r"(?:导出|匯出|制表|打印|列印|统计|統計|生成|操作|备注|備註|说明|說明|注)[^,]{0,12}[:：].*",
    r"(?:exported|generated|printed|created|report|source|note)\b[^:]{0,30}:.*",
)
_COMMENT: Final = "#"
_SHOWN: Final = 5


class NoCalls:
    """Knows such rows and counts them. A row that has all that a call needs is a call, whatever
    it begins with.
    """

    def __init__(self, layout: Layout, positions: Mapping[str, int]) -> None:
        words = "|".join(map(re.escape, (*_WORDS, *layout.totals)))
        mark = rf"(?:本页|本頁|全部|通话|通話)?(?:{words})(?![a-z]).*"
        self._total = re.compile("|".join((mark, *_COUNTS)), re.IGNORECASE | re.DOTALL)
        self._footer = re.compile("|".join(_FOOTERS), re.IGNORECASE | re.DOTALL)
        self.comment: Final = layout.comment
        self._needed = [name for name in REQUIRED if name in positions]
        self._totals = _LeftOut("totals")
        self._comments = _LeftOut("comments")

    def take(self, line: int, cells: Sequence[str | None]) -> bool:
        """Whether the row, which is no call as it stands, is one of these; then it is noted."""
        filled = [cell.strip() for cell in cells if cell and cell.strip()]
        first = filled[0] if filled else ""
        if first.startswith(self.comment or _COMMENT):
            self._comments.add([line])
        elif self._total.fullmatch(first) or (len(filled) == 1 and self._footer.fullmatch(first)):
            self._totals.add([line])
        else:
            return False
        return True

    def take_comments(self, lines: Sequence[int]) -> None:
        """Lines that begin as the map says that comments do."""
        self._comments.add(lines)

    def doubtful(self, table: pl.DataFrame) -> pl.Series:
        """Whether a row of cells lacks what a call needs."""
        names = self._needed or [name for name in table.columns if name != "line"]
        empty = [pl.col(name).is_null() | (pl.col(name) == "") for name in names]
        if self._needed:
            return table.select(pl.any_horizontal(empty).alias("line")).to_series()
        return table.select((pl.sum_horizontal(empty) * 2 >= len(names)).alias("line")).to_series()

    def notes(self) -> list[str]:
        """At the end of the file, what was left out."""
        return [kind.note() for kind in (self._totals, self._comments) if kind.rows]


class _LeftOut:
    """How many rows of a kind there are, and where the first of them stand: a file may have millions."""

    def __init__(self, what: str) -> None:
        self.rows = 0
        self._what = what
        self._first: list[int] = []

    def add(self, lines: Sequence[int]) -> None:
        self.rows += len(lines)
        self._first += lines[: _SHOWN - len(self._first)]

    def note(self) -> str:
        shown = ", ".join(map(str, self._first)) + (", …" if self.rows > _SHOWN else "")
        if self.rows == 1:
            return f"A row of {self._what} is left out (line {shown})."
        return f"{self.rows:,} rows of {self._what} are left out (lines {shown})."
