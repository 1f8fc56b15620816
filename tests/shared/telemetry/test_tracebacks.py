"""What the log says of a defect: where and of what type, never what it was about."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shared.config import process_environment
from shared.errors import StoreUnavailable
from shared.telemetry.tracebacks import without_texts

PHONE = "+86 139-1234-5678 / 欧阳明月"


def fails() -> None:
    {}[PHONE]


def told(error: BaseException) -> str:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - whatever is given
        return without_texts((type(caught), caught, caught.__traceback__))


def caused() -> Exception:
    try:
        fails()
    except KeyError as error:
        made = RuntimeError(PHONE)
        made.__cause__ = error
        return made
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError(PHONE),
        caused(),
        ExceptionGroup(PHONE, [ValueError(PHONE), caused()]),
        UnicodeDecodeError("utf-8", PHONE.encode(), 0, 1, PHONE),
    ],
)
def test_no_text_of_an_error_is_shown(error: Exception) -> None:
    text = told(error)
    assert "139" not in text
    assert "欧阳" not in text
    assert type(error).__name__ in text
    assert __file__ in text


def test_causes_come_first_with_their_lines() -> None:
    text = told(caused())
    assert text.index("KeyError: (its text is not logged)") < text.index("which led to")
    assert "in fails" in text
    assert text.index("which led to") < text.index("RuntimeError")


def test_what_is_about_no_request_is_shown() -> None:
    assert "StoreUnavailable: The database is away." in told(
        StoreUnavailable("The database is away.")
    )
    assert "FileNotFoundError: No such file" in told(FileNotFoundError(2, "No such file", PHONE))


def test_every_line_of_a_process_is_written_so() -> None:
    script = f"""
import logging, structlog
from shared.config import Config
from shared.telemetry.logs import configure_logging
configure_logging("portrait", Config.from_env())
try:
    raise ValueError({PHONE!r})
except ValueError:
    logging.getLogger("library").exception("failed")
    structlog.get_logger().exception("failed")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=process_environment(LOG_FORMAT="json"),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["failed", "failed"]
    for line in lines:
        assert line["exception"].endswith("ValueError: (its text is not logged)")
    assert "139" not in done.stderr
