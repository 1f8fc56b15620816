"""Records as lines."""

import json
from datetime import UTC, datetime

from looma_cli.logs.record import UNKNOWN, Record
from looma_cli.logs.show import as_json, as_line

AT = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
LOCAL = AT.astimezone().isoformat(" ", "milliseconds")[:23]


def shown(coloured: bool = False, **fields: object) -> str:
    return as_line(Record("auth", AT, "error", fields), 6, coloured=coloured)


def test_a_line_has_time_process_level_event_and_fields_the_ids_last() -> None:
    line = shown(
        request_id="r", event="it broke", service="auth", count=3, why="two words", none=""
    )
    assert line == (
        f'{LOCAL} auth   error    it broke  count=3  why="two words"  none=""  request_id=r'
    )


def test_a_traceback_stands_below_its_line() -> None:
    assert shown(event="broke", exception="Traceback\n  x").splitlines()[1:] == [
        "    Traceback",
        "      x",
    ]


def test_what_a_client_sent_does_not_reach_the_terminal() -> None:
    line = shown(event="a\x1b[2Jb", path="/\x1b]0;x\x07 \u202e\n2026 forged", value='"\\')
    assert "\x1b" not in line
    assert "\x07" not in line
    assert "\u202e" not in line
    assert "\n" not in line
    assert r"\x1b[2J" in line
    text = as_line(Record("redis", AT, "", text="a\x1b[2J\nb"), 6, coloured=False)
    assert text.splitlines()[1] == "    b"
    assert "\x1b" not in text


def test_colours_are_for_terminals_only() -> None:
    assert shown(coloured=True, event="e").startswith("\x1b[31m")


def test_as_json_every_line_is_one_object_with_its_process() -> None:
    fields = {"event": "e", "timestamp": "2026-01-31T09:30:00Z", "level": "info"}
    assert json.loads(as_json(Record("auth-2", AT, "info", fields))) == {
        "process": "auth-2",
        **fields,
    }
    text = json.loads(as_json(Record("redis", UNKNOWN, "", text="a\nb")))
    assert text == {"process": "redis", "timestamp": None, "level": "", "text": "a\nb"}
