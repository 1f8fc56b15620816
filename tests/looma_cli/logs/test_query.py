"""The options of `looma logs`, read; and what they choose."""

from datetime import UTC, datetime, timedelta

import pytest

from looma_cli.logs.query import Query, query
from looma_cli.logs.record import Record
from shared.errors import ConfigError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = "7e57b3a8-9c1b-4c63-8a6e-2f8b7a000000"
TRACE = "0123456789abcdef0123456789abcdef"


def record(level: str = "info", at: datetime = NOW, **fields: object) -> Record:
    return Record("auth", at, level, {"event": "e", **fields})


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("999999d", datetime.min.replace(tzinfo=UTC)),
        ("2026-01-31T09:30:00+08:00", datetime(2026, 1, 31, 1, 30, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, since: datetime) -> None:
    assert query(None, None, None, text, NOW).since == since


@pytest.mark.parametrize("text", ["10", "m", "-5m", "10x", "1.5h", "soon", "2026-01-31T09:30", ""])
def test_another_since_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--since: .*30s, 10m, 2h or 1d"):
        query(None, None, None, text, NOW)


@pytest.mark.parametrize("text", ["", "x", ID[:-1], TRACE + "0"])
def test_ids_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--request: .*a UUID"):
        query(text, None, None, None, NOW)
    with pytest.raises(ConfigError, match=r"^--trace: .*32 hexadecimal digits"):
        query(None, text, None, None, NOW)


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", ""), f"urn:uuid:{ID}"])
def test_a_request_is_found_however_its_id_is_written(text: str) -> None:
    wanted = query(text, None, None, None, NOW)
    assert wanted.wants(record(request_id=ID))
    assert wanted.wants(record(reason=f"of {ID}"))
    assert wanted.wants(Record("redis", NOW, "", text=f"… {ID} …"))
    assert not wanted.wants(record(request_id=ID.replace("7e57", "7e58")))


@pytest.mark.parametrize("text", [TRACE, TRACE.upper(), f"00-{TRACE}-0123456789abcdef-01"])
def test_a_trace_is_found_by_its_id_or_its_header(text: str) -> None:
    wanted = query(None, text, None, None, NOW)
    assert wanted.wants(record(trace_id=TRACE))
    assert not wanted.wants(record())


def test_graver_levels_are_wanted_too() -> None:
    wanted = Query(level="warning")
    seen = [level for level in ("debug", "info", "warning", "error", "critical", "", "loud")
            if wanted.wants(record(level))]  # fmt: skip
    assert seen == ["warning", "error", "critical"]


def test_all_that_is_asked_has_to_hold() -> None:
    wanted = query(ID, None, "error", "1h", NOW)
    assert wanted.wants(record("error", request_id=ID))
    assert not wanted.wants(record("info", request_id=ID))
    assert not wanted.wants(record("error"))
    assert not wanted.wants(record("error", NOW - timedelta(hours=2), request_id=ID))
