"""Which requests leave a line."""

import pytest
from structlog.testing import capture_logs

from shared.errors import NotFound, StoreUnavailable
from shared.serving.access_log import AccessLog, LineBudget


@pytest.mark.parametrize(
    ("status", "seconds", "level"),
    [
        (200, 0.1, None),
        (304, 0.1, None),
        (200, 1.0, "info"),
        (404, 0.0, "info"),
        (499, 0.0, "info"),
        (503, 0.0, "warning"),
    ],
)
def test_what_failed_or_was_slow_leaves_a_line(
    status: int, seconds: float, level: str | None
) -> None:
    with capture_logs() as lines:
        AccessLog("info").note(status, seconds, "/x", method="GET")
    assert [line["log_level"] for line in lines] == ([] if level is None else [level])


def test_at_debug_every_request_leaves_one() -> None:
    with capture_logs() as lines:
        AccessLog("debug").note(200, 0.0012, "/x", method="GET")
    (line,) = lines
    assert (line["log_level"], line["status"], line["ms"]) == ("debug", 200, 1.2)


def test_a_line_tells_why_and_quotes_nothing_of_a_request() -> None:
    with capture_logs() as lines:
        access = AccessLog("info")
        access.note(404, 0.0, "/calls/{callid}", NotFound("There is no call 138."))
        access.note(503, 0.0, "/calls/{callid}", StoreUnavailable("PostgreSQL doesn't answer."))
    refused, failed = lines
    assert (refused["error"], refused["route"]) == ("not_found", "/calls/{callid}")
    assert "reason" not in refused
    assert failed["reason"] == "PostgreSQL doesn't answer."


def test_a_flood_of_refusals_leaves_so_many_lines_and_their_number() -> None:
    now = 0.0
    access = AccessLog("info", refused=LineBudget(per_second=2.0, burst=3.0, clock=lambda: now))
    with capture_logs() as lines:
        for _ in range(10):
            access.note(401, 0.0, "/x")
        now = 1.0
        for _ in range(10):
            access.note(401, 0.0, "/x")
        now = 60.0
        access.note(401, 0.0, "/x")
    assert [line.get("left_out") for line in lines] == [None, None, None, 7, None, 8]


def test_a_flood_of_refusals_leaves_room_for_what_failed_or_was_slow() -> None:
    access = AccessLog("info")
    with capture_logs() as lines:
        for _ in range(2000):
            access.note(401, 0.0, "/x")
        access.note(503, 0.0, "/x", StoreUnavailable("PostgreSQL doesn't answer."))
        access.note(200, 5.0, "/x")
    assert [line["status"] for line in lines[-2:]] == [503, 200]
