"""No number of a rejected row is kept in clear, wherever what is kept of the row is cut."""

from __future__ import annotations

import json
import re

import pytest

from ai_services.enrichment.reading.columns import judge_unknown
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import Reject, read_records
from ai_services.enrichment.validation.reject import excerpt
from shared.phones import mask_written
from tests.ai_services.enrichment.records import record

DIGITS = "13812348000"
ESCAPED = "".join(f"\\u{ord(digit):04x}" for digit in DIGITS)
WIDE = "".join(f"\\uff1{digit}" for digit in DIGITS)
WRITTEN = [DIGITS, "138 1234 8000", "+86 138-1234-8000", ESCAPED, WIDE, "1.3812348000E+10"]


def turn(role: str) -> str:
    return json.dumps(record("c", turns=[{"role": role, "text": "a"}])).replace("\\\\", "\\")


ROWS = {
    "broken": lambda pad, number: f'{{"phones":"{pad}{number}"{" " * (len(pad) % 25)} x}}',
    "broken before": lambda pad, number: f'{{"a":{pad[:40]}x "{pad}{number}"}}',
    "no object": lambda pad, number: f'["{pad}{number}"]',
    "role": lambda pad, number: turn(pad + number),
    "text": lambda pad, number: json.dumps(record("c", turns="@")).replace("@", pad + number),
    "twice": lambda pad, number: f'{{"x":"{pad}{number}","x":2}}',
    "list": lambda pad, number: f'{{"callid":["{pad}{number}"]}}',
    "bytes": lambda pad, number: f'{{"x":"{pad}{number}{pad[:15]}\xff{pad[:15]}{number}"}}',
    "long": lambda pad, number: f'{{"x":"{pad}{number}{"z" * (8 << 20)}"}}',
}


def assert_hidden(kept: str) -> None:
    plain = json.loads('"' + re.sub(r'["\x00-\x1f]|\\(?!u[0-9a-f]{4})', " ", kept) + '"')
    digits = "".join(str(int(one)) if one.isdecimal() else "" for one in plain)
    for at in range(len(DIGITS) - 6):
        assert DIGITS[at : at + 7] not in digits, kept[-200:]


@pytest.mark.parametrize("number", WRITTEN)
@pytest.mark.parametrize("row", [name for name in ROWS if name != "long"])
def test_a_number_that_stands_where_a_value_is_cut(row: str, number: str) -> None:
    pads = ["x " * (width // 2) + "x" * (width % 2) for width in (*range(90), *range(330, 410))]
    records = [ROWS[row](pad, number).encode("latin-1") for pad in pads]
    batch = read_records(records)
    assert len(batch.rejects) + len(batch.notes) == len(records)
    for one in (*batch.rejects, *batch.notes):
        raw = one.raw if isinstance(one, Reject) else ""
        for kept in (one.field, one.value, one.problem, one.fix, raw):
            assert_hidden(kept)


@pytest.mark.parametrize("number", WRITTEN)
def test_a_number_that_stands_where_any_text_is_cut(number: str) -> None:
    text = f"call back at {number}, or {number}"
    for start in range(len(text)):
        for chars in range(len(text) - start + 1):
            assert_hidden(mask_written(excerpt(text, start, chars)))


@pytest.mark.parametrize("width", [8_150, 8_160, 8_170, 8_180, 8_190])
def test_a_number_at_the_end_of_what_is_read_of_a_row(width: int) -> None:
    for row in ("no object", "long"):
        for digits in (DIGITS, ESCAPED):
            pad = "\\u0041" * (width // 6) if digits == ESCAPED else "a" * width
            (reject,) = read_records([ROWS[row](pad, digits).encode()]).rejects
            assert_hidden(reject.raw)


def test_a_number_in_the_name_of_an_unknown_column() -> None:
    for width in range(75, 105):
        (note,) = judge_unknown(["x" * width + " " + DIGITS], load_preset("calls"), strict=False)
        assert_hidden(note)


@pytest.mark.parametrize("phone", ["1", "0", "00", "2024"])
def test_what_fills_a_phone_cell_leaves_the_row_alone(phone: str) -> None:
    sent = record("c-1", user_id="team-1", phone=phone, rounds=1, call_status="odd", hangup_by=1)
    (reject,) = read_records([json.dumps(sent).encode()]).rejects
    shown = json.loads(reject.raw)
    assert {**shown, "phone": phone} == sent
