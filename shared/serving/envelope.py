"""What a service answers, as the HTTP contract has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog
from pydantic import BaseModel
from sanic.response import HTTPResponse

from shared.errors import LoomaError, render
from shared.serving.entity_tag import matches, weak_tag
from shared.wire import REQUEST_ID_HEADER, success_envelope

log = structlog.get_logger()


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    return HTTPResponse(_json(body), status, dict(headers or {}), "application/json")


def success(
    data: Any, request_id: str, status: int = 200, *, if_none_match: str | None = None
) -> HTTPResponse:
    """The success envelope of the HTTP contract.

    `if_none_match` is that of a GET, '' without one, and None for other methods: the answer to a GET
    has an ETag, and is 304 for a client that has these data already.
    """
    written, headers = _json(data), {REQUEST_ID_HEADER: request_id}
    if if_none_match is not None:
        headers["ETag"] = tag = weak_tag(written)
        if matches(if_none_match, tag):
            return HTTPResponse(None, 304, headers, None)
    body = success_envelope(written, request_id)
    return HTTPResponse(body, status, headers, "application/json")


def file_response(
    body: bytes,
    media_type: str,
    request_id: str,
    *,
    if_none_match: str = "",
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """An answer to GET that is a file of its own form: with an ETag, and 304 as `success`."""
    tag = weak_tag(body)
    sent = {**(headers or {}), REQUEST_ID_HEADER: request_id, "ETag": tag}
    if matches(if_none_match, tag):
        return HTTPResponse(None, 304, sent, None)
    return HTTPResponse(body, 200, sent, media_type)


def error_response(
    error: BaseException,
    request_id: str,
    rendered: Callable[[BaseException, str], tuple[int, Any, Mapping[str, str]]] = render,
) -> HTTPResponse:
    """A failure, as `rendered` shows it; a defect is logged with its traceback."""
    if not isinstance(error, LoomaError):
        log.error("unexpected error", exc_info=error, request_id=request_id)
    status, body, headers = rendered(error, request_id)
    return json_response(body, status, {**headers, REQUEST_ID_HEADER: request_id})


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
