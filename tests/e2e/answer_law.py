"""What holds for every answer, whatever was asked."""

from __future__ import annotations

from typing import Final

import httpx

_ENVELOPE: Final = {"code", "error", "message", "details", "request_id"}
_INSIDE: Final = (
    "Traceback", 'File \\"', "asyncpg", "psycopg", "redis.", "sanic", "SELECT ", "INSERT INTO",
    "syntax error at", "invalid input syntax", "invalid byte sequence", "pydantic", "orjson",
)  # fmt: skip


def broken(answer: httpx.Response) -> str | None:
    """What is wrong with an answer, None for nothing: a 5xx, another form, our inside in it."""
    if answer.status_code >= 500:
        return f"{answer.status_code}"
    if answer.status_code < 400:
        return None
    if answer.headers.get("content-type") != "application/json":
        return f"is {answer.headers.get('content-type')}"
    try:
        body = answer.json()
    except ValueError:
        return "is no JSON"
    if not isinstance(body, dict) or not set(body) >= _ENVELOPE - {"details"}:
        return "has no envelope"
    if set(body) > _ENVELOPE:
        return f"holds {set(body) - _ENVELOPE} as well"
    told = next((word for word in _INSIDE if word in answer.text), None)
    return None if told is None else f"tells of {told}"
