"""Cells that are made to be slow to read: in time that grows faster than they do, these tests never end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_services.enrichment.reading.presets.party import extension
from ai_services.enrichment.reading.turns import Transcript, parse_turns
from ai_services.enrichment.suggesting.suggest import SentFile, suggest
from ai_services.enrichment.validation.duration import read_duration
from ai_services.enrichment.validation.phone_number import read_phone
from ai_services.enrichment.validation.read_time import read_time
from tests.ai_services.enrichment.calls_files import Folder, as_csv, call

LONG = 200_000
MANY = range(1_000)  # cells of a column, which a cache knows nothing of


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n"])
def test_times_with_blanks_where_a_zone_may_stand(blank: str) -> None:
    for number in MANY:
        padded = blank * (75 // len(blank))
        assert read_time(f"2024-03-05 1:00{padded}{number}", "UTC").at is None


@pytest.mark.parametrize("text", ["1h{}x", "1 {}h x", "1:00{}x", "{}1{}h"])
def test_durations_with_blanks_between_their_units(text: str) -> None:
    for number in MANY:
        assert read_duration(text.format(" " * 45, " " * 40) + str(number), "s") is None


@pytest.mark.parametrize(
    "text", [";" * 180 + "{}x", "13812345678" + " " * 170 + "{}x", "1" * 180 + "{}x", "x" * 180 + "{}!",
             "caller" * 30 + "{}x", "*" * 180 + "{}!", "\ufdfa" * 180 + "{}"]
)  # fmt: skip
def test_numbers_among_marks(text: str) -> None:
    for number in MANY[:200]:
        assert read_phone(text.format(number), "US").number is None


@pytest.mark.parametrize("filler", [" ", "1", "- ", "(", "_#", "\n", "1 "])
def test_roles_that_go_on_and_on(filler: str) -> None:
    turns = [
        {"role": f"a{filler * (90 // len(filler))}{number}!", "text": "hello"} for number in MANY
    ]
    assert not isinstance(parse_turns(turns[:1]), Transcript)
    for turn in turns:
        parse_turns([turn])


def test_a_turn_of_many_lines_is_put_together_once() -> None:
    lines = "\nb" * 400_000
    found = parse_turns(f"客服：a{lines}")
    assert isinstance(found, Transcript)
    assert len(found.json) > 2 * 400_000


@pytest.mark.parametrize("cell", ["1" + " " * LONG + "x", "共" + " " * LONG + "x", "第" + " " * LONG + "x",
                                  "条" + " " * LONG + "x", "1." * LONG + "x"])  # fmt: skip
def test_headers_and_totals(tmp_path: Path, cell: str) -> None:
    width = len(call())
    title, total = (f"{cell}{',' * (width - 1)}\n".encode() for _ in range(2))
    [batch] = Folder(tmp_path).batches("a.csv", title + as_csv([call()]) + total)
    assert batch.frame.height == 1


@pytest.mark.parametrize(
    "written", ["<" * LONG, "<a" * LONG, "<" + " " * LONG + ">x", " " * LONG + "x"]
)
def test_who_is_at_the_end_of_a_line(written: str) -> None:
    assert extension(written) is None


@pytest.mark.parametrize(
    "cell", ["1" * LONG + "x", "1h" + " " * LONG + "x", "1millis" * (LONG // 7) + "!"]
)
def test_a_map_for_odd_cells(cell: str) -> None:
    written = f"{cell},duration\n{cell},2\n{cell},3\n".encode()
    suggested = suggest(SentFile("a.csv", written))
    assert cell not in {guess.column for guess in suggested.fields.values()}
