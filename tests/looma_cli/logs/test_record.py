"""Lines of all kinds of processes, understood."""

import json
from datetime import UTC, datetime

import pytest

from looma_cli.logs.record import UNKNOWN, Records

AT = "2026-01-31T09:30:00.123456Z"
WHEN = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)


def ours(**fields: object) -> bytes:
    return json.dumps({"event": "e", "level": "info", "timestamp": AT, **fields}).encode()


def test_a_line_of_ours_has_its_fields() -> None:
    (record,) = Records("auth").of([ours(level="warning", request_id="r")])
    assert (record.process, record.at, record.level) == ("auth", WHEN, "warning")
    assert record.fields["request_id"] == "r"


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("2026-01-31T09:30:00.123456Z [warning  ] request failed   x=1", "warning", "request failed   x=1"),
        ("2026-01-31 09:30:00.123456 UTC [161] FATAL:  starting up", "error", "starting up"),
        ("2026-01-31 09:30:00.123456 UTC [161] LOG:  ready", "info", "ready"),
    ],
)  # fmt: skip
def test_text_with_a_time_is_a_record(line: str, level: str, text: str) -> None:
    records = Records("p")
    (record,) = records.of([line.encode()])
    assert (record.at, record.level, record.text) == (WHEN, level, text)
    assert records.unknown == 0


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("7:M 31 Jan 2026 09:30:00.123 # memory", "warning", "memory"),
        ("2026-01-31 09:30:00.123 SEVER [Server] <looma> broke", "error", "[Server] <looma> broke"),
    ],
)
def test_stores_that_tell_no_offset_mean_this_machines_zone(
    line: str, level: str, text: str
) -> None:
    (record,) = Records("p").of([line.encode()])
    local = datetime(2026, 1, 31, 9, 30, 0, 123000).astimezone()
    assert (record.at, record.level, record.text) == (local, level, text)


def test_lines_of_no_known_form_are_kept_together_and_counted() -> None:
    records = Records("auth")
    lines = [ours(), b"Traceback:", b"  File x", ours(event="f"), b'{"cut": ']
    found = list(records.of(lines))
    assert [one.fields.get("event", one.text) for one in found] == [
        "e", "Traceback:\n  File x", "f", '{"cut": ',
    ]  # fmt: skip
    assert {one.at for one in found} == {WHEN}
    assert records.unknown == 3


def test_the_traceback_below_a_line_for_people_belongs_to_it() -> None:
    lines = [f"{AT} [error    ] broke".encode(), b"Traceback", b"  more", f"{AT} [info     ] on".encode()]  # fmt: skip
    assert [one.text for one in Records("p").of(lines)] == ["broke\nTraceback\n  more", "on"]


def test_text_before_all_times_is_of_the_first() -> None:
    early, _ = Records("p").of([b"WARNING: early", ours()])
    assert early.at == WHEN
    (alone,) = Records("p").of([b"WARNING: alone"])
    assert alone.at == UNKNOWN


@pytest.mark.parametrize(
    "line",
    [b"{}", b"{]", b'{"timestamp": 5}', b'{"timestamp": "soon"}', b"\xff\xfe\x00", b"", b"[1]"],
)
def test_no_line_ends_the_reading(line: bytes) -> None:
    records = Records("p")
    assert len(list(records.of([line, ours()]))) == 2
    assert records.unknown == 1


def test_a_clock_that_went_back_keeps_the_order_of_the_file() -> None:
    earlier = "2026-01-31T09:29:59Z"
    found = list(Records("p").of([ours(), ours(timestamp=earlier), b"text"]))
    assert [one.at for one in found] == [WHEN, datetime.fromisoformat(earlier), WHEN]
