"""Pages: answers that the gateway makes itself, and how they are sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.http.answer import Answer
from gateway.http.compression import Gzip, negotiate
from gateway.http.header_policy import own_answer_lines
from gateway.http.request import GatewayRequest
from shared.serving.entity_tag import matches


@dataclass(frozen=True, slots=True)
class Page:
    """One answer; `packed` is the body as gzip, if it is at hand."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    packed: bytes = b""


PageMaker = Callable[[], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class OwnPage:
    """A page by its path: made anew for each request."""

    make: PageMaker
    limited: bool = True  # by the public limits; probes are not
    guarded: bool = False  # for scrapers only
    openmetrics: PageMaker | None = None  # in place of `make`, for those who ask for that format


def json_page(data: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Page:
    return Page(orjson.dumps(data), status=status, headers=headers)


async def send_page(request: GatewayRequest, page: Page, more: bytes = b"") -> int:
    """Answer with `page`, or 304 for a client that has it; the status.

    `more` are header lines as they go out.
    """
    client = request.client
    assert client is not None
    headers, head_only = request.headers, request.method == "HEAD"
    lines = own_answer_lines(page.content_type, request.id, page.headers)
    status, body = page.status, page.body
    tag = next((value.decode() for name, value in lines if name == b"etag"), "")
    if tag and matches(", ".join(headers.getall("if-none-match")), tag):
        status, body = 304, b""
        lines = [line for line in lines if line[0] != b"content-type"]
    accepted = "" if request.version == "1.0" else headers.get("accept-encoding")
    negotiated, compress = negotiate(status, lines, len(body), accepted)
    length: int | None = len(body)
    if compress:
        if page.packed or not head_only:
            body = page.packed or await Gzip(flushing=False).feed(body, last=True)
            length = len(body)
        else:
            length = None
    client.begin(Answer(status, negotiated, length, more))
    await client.send(b"" if head_only else body, end=True)
    return status
