"""Rows of tables in HTML: what spans several of them, and what it takes to hold them."""

from __future__ import annotations

import io
from pathlib import Path

from ai_services.enrichment.reading.content.lines import ByteStream
from ai_services.enrichment.reading.tables.html_table import html_rows


def read(html: str) -> list[list[list[str]]]:
    """The shares in which the rows come."""
    stream = ByteStream(io.BytesIO(html.encode()), gzipped=False)
    shares = [rows for rows, _ in html_rows(Path("a.html"), stream, 8 << 20)]
    return [[rows.row(at) for at in range(rows.height)] for rows in shares]


def table(*rows: str) -> str:
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def test_a_cell_that_spans_rows_is_in_no_others() -> None:
    spanning = "<td>a<td>b<td rowspan=3>c"
    wide = "<td>p<td>q<td>r"
    [rows] = read(table(spanning, "<td>x<td>y", "<td>z", wide))
    assert rows == [["a", "b", "c"], ["x", "y", "c"], ["z", "", ""], ["p", "q", "r"]]
    [rows] = read(table("<td rowspan=9>a<td>b") + table("<td>p<td>q"))
    assert rows == [["a", "b"], ["p", "q"]]


def test_a_long_cell_that_spans_many_rows_is_not_unfolded_at_once() -> None:
    text = "x" * (1 << 20)
    shares = read(table(f"<td rowspan=40>{text}", *["<td>y"] * 39))
    assert [row[0] for rows in shares for row in rows] == [text] * 40
    assert max(map(len, shares)) <= 8
