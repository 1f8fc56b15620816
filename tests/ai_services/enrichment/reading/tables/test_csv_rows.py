from __future__ import annotations

import csv
import io
from pathlib import Path

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ai_services.enrichment.reading.content.lines import ByteStream, split_blocks
from ai_services.enrichment.reading.piece import Piece
from ai_services.enrichment.reading.tables.csv_rows import csv_pieces
from ai_services.enrichment.reading.tables.layout import Layout
from ai_services.enrichment.reading.tables.table_head import TableReader

NAMES = ["callid", "user_id", "started_at"]
cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), max_size=25)


def pieces(data: bytes, *, block: int = 40, limit: int = 1 << 20) -> list[Piece]:
    events = split_blocks(ByteStream(io.BytesIO(data), gzipped=False), block, limit)
    return list(
        csv_pieces(
            events,
            TableReader(
                Path("x.csv"),
                set(NAMES),
                Layout(),
                lambda found: {name: at for at, name in enumerate(found)},
                [].append,
            ),
            encoding="utf-8",
            max_record_bytes=limit,
        )
    )


def parsed(data: bytes, **options: int) -> list[tuple[str | None, ...]]:
    return [
        tuple(cell or None for cell in row[1:])
        for piece in pieces(data, **options)
        for row in piece.table.iter_rows()
    ]


def problems(data: bytes, **options: int) -> list[tuple[int, str]]:
    return [(line, p.problem) for piece in pieces(data, **options) for line, p in piece.problems]


def _begins_with_comment(row: list[str]) -> bool:
    first = next(cell.strip() for cell in row if cell.strip())
    return first.startswith("#") and not all(row)


@given(tables, st.sampled_from(",;\t|"), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
@example([["a", 'b"\n,"', "c"]], ",", csv.QUOTE_MINIMAL)
def test_what_the_csv_module_writes_is_read_back(
    table: list[list[str]], separator: str, quoting: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator="\n")
    writer.writerows([NAMES, *table])
    data = out.getvalue().encode()
    filled = [row for row in table if any(cell.strip() for cell in row)]
    # A row that lacks what a call needs and begins with a mark of comments is one.
    assume(not any(_begins_with_comment(row) for row in filled))
    # A row of blanks alone is no row where no quote makes it one.
    got = [row for row in parsed(data) if any(cell and cell.strip() for cell in row)]
    assert got == [tuple(cell or None for cell in row) for row in filled]
    assert problems(data) == []


def test_lines_are_counted_through_quoted_line_ends_and_blank_lines() -> None:
    data = b'callid,user_id,started_at\n"a\n\nb",1,2\n\nc,3,4\n,,\nd,5,6\n'
    table = pieces(data, block=1 << 20)[0].table
    assert table["line"].to_list() == [2, 6, 8]
    assert table["callid"].to_list() == ["a\n\nb", "c", "d"]


def test_ragged_rows_are_named_and_the_rest_goes_on() -> None:
    data = b"callid,user_id,started_at\na,1\nb,2,3\nc,4,5,6\n"
    assert parsed(data) == [("b", "2", "3")]
    assert problems(data) == [
        (2, "has 2 fields; the header has 3"),
        (4, "has 4 fields; the header has 3"),
    ]


def test_a_stray_quote_costs_its_own_line_only() -> None:
    good = [f"c{n},{n},x" for n in range(100)]
    lines = [*good[:50], 'bad,"open,x', *good[50:]]
    data = ("callid,user_id,started_at\n" + "\n".join(lines) + "\n").encode()
    for limit in (200, 1 << 20):
        assert len(parsed(data, limit=limit)) == 100
        [(line, problem)] = problems(data, limit=limit)
        assert line == 52
        assert "a quote is opened here and not closed" in problem


def test_text_after_a_closing_quote_is_named() -> None:
    data = b'callid,user_id,started_at\na,"say "hi" now",x\nb,2,3\n'
    assert parsed(data) == [("b", "2", "3")]
    assert problems(data) == [(2, "field 2 goes on after its closing quote")]


def test_a_quote_inside_an_unquoted_field_is_text() -> None:
    assert parsed(b'callid,user_id,started_at\n5" tube,1,x\n') == [('5" tube', "1", "x")]


def test_windows_line_ends_and_a_missing_last_one() -> None:
    data = b'callid,user_id,started_at\r\na,1,x\r\n"b\r\nb",2,y\r\nc,3,z'
    assert parsed(data) == [("a", "1", "x"), ("b\nb", "2", "y"), ("c", "3", "z")]
