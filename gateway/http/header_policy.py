"""Header policy: which headers pass in either direction, and which the gateway adds.

A client never speaks in the gateway's name: what could be taken for its word (identity, addresses,
internal tokens) is dropped before its own is added. What belongs to one connection only (RFC 9110
§7.6.1) ends here, also when a Connection header says so. Cookies pass in neither direction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.http.headers import Headers
from shared.wire import (
    CLIENT_ADDRESS_HEADER,
    DEADLINE_HEADER,
    INTERNAL_TOKEN_HEADER,
    REQUEST_ID_HEADER,
)

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip
_NOT_FORWARDED: Final = _HOP_BY_HOP | {
    "authorization", "x-api-key", "cookie", "forwarded", CLIENT_ADDRESS_HEADER, "x-real-ip",
    REQUEST_ID_HEADER, "traceparent", "tracestate", "host", "content-length", "expect",
    DEADLINE_HEADER,
}  # fmt: skip
_NOT_FORWARDED_PREFIXES: Final = ("x-internal-", "x-user-", "x-forwarded-")
_NOT_RETURNED: Final = frozenset(
    name.encode()
    for name in {
        *_HOP_BY_HOP, "content-length", "set-cookie", "server", "alt-svc", REQUEST_ID_HEADER,
        "x-content-type-options", "x-frame-options", "referrer-policy",
    }
)  # fmt: skip
# What is left of a limit is the gateway's to say: two answers to that would contradict each other.
_NOT_RETURNED_PREFIXES: Final = (b"x-internal-", b"ratelimit", b"x-ratelimit", b"x-rate-limit")
# What the gateway itself says of a request, up to each value: put together once.
_TOKEN: Final = f"{INTERNAL_TOKEN_HEADER}: "
_ID: Final = f"\r\n{REQUEST_ID_HEADER}: "
_ID_LINE: Final = f"{REQUEST_ID_HEADER}: ".encode()
_ADDRESS: Final = f"{CLIENT_ADDRESS_HEADER}: "
_HARMLESS_CONNECTION: Final = frozenset({"", "keep-alive", "close"})
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_API_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
_NO_STORE: Final = (b"cache-control", b"no-store")
# What has a validator may be kept by its caller, who asks each time whether it is still right.
_ASK_AGAIN: Final = (b"cache-control", b"private, no-cache")
_BY_CALLER: Final = (b"vary", b"authorization, x-api-key")


def _block(*lines: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % line for line in lines)


def _beside(has_policy: bool, has_cache_control: bool, has_tag: bool) -> bytes:
    """What an answer gets besides its own headers, by which of these it has itself."""
    lines = [] if has_policy else [_API_POLICY]
    if not has_cache_control:
        lines.append(_ASK_AGAIN if has_tag else _NO_STORE)
    if has_tag:
        lines.append(_BY_CALLER)
    return _block(*lines, *SECURITY_HEADERS)


_POLICY: Final = 1
_CACHE_CONTROL: Final = 2
_TAG: Final = 4
_BESIDE: Final[Sequence[bytes]] = [
    _beside(bool(has & _POLICY), bool(has & _CACHE_CONTROL), bool(has & _TAG)) for has in range(8)
]
_NOTHING: Final[frozenset[str]] = frozenset()


def forwarded_line(name: str, value: str) -> str:
    """A client's header as it goes on to a service, unless Connection names it; '' if it never does."""
    if name in _NOT_FORWARDED or "_" in name or name.startswith(_NOT_FORWARDED_PREFIXES):
        return ""
    return f"{name}: {value}\r\n"


def forwarded_block(headers: Headers) -> str:
    """The client's headers that go on to a service, as lines."""
    block = headers.forwarded
    if block is None:
        named = _named_by_connection(headers.getall("connection"))
        lines = [
            forwarded_line(name, value) for name, value in headers.items() if name not in named
        ]
        block = headers.forwarded = "".join(lines)
    return block


def without(block: str, name: str) -> str:
    """A block of header lines without those of one name."""
    lines = block.split("\r\n")
    return "\r\n".join([line for line in lines if not line.startswith(f"{name}: ")])


def own_lines(token: str, request_id: str, trace: str, address: str, scheme: str, host: str) -> str:
    """What the gateway itself says about a request. `trace` is a block of lines of its own."""
    # A host that is none, as one with obs-text, is not passed on.
    shown = f"x-forwarded-host: {host}\r\n" if host and _HOST.fullmatch(host) else ""
    return (
        f"{_TOKEN}{token}{_ID}{request_id}\r\n{trace}"
        f"{_ADDRESS}{address}\r\nx-forwarded-for: {address}\r\n"
        f"x-forwarded-proto: {scheme}\r\n{shown}"
    )


def returned(
    headers: Sequence[tuple[bytes, bytes]], request_id: bytes
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """A service's headers that go back to the client, and the gateway's own beside them as they
    go out.
    """
    lines: list[tuple[bytes, bytes]] = []
    named: frozenset[str] = _NOTHING
    for line in headers:
        name = line[0]
        if name in _NOT_RETURNED:
            if name == b"connection":
                named |= _named_by_connection((line[1].decode("latin-1"),))
        elif not name.startswith(_NOT_RETURNED_PREFIXES):
            lines.append(line)
    if named:
        lines = [line for line in lines if line[0].decode("latin-1") not in named]
    has = 0
    for line in lines:
        name = line[0]
        if name == b"content-security-policy":
            has |= _POLICY
        elif name == b"cache-control":
            has |= _CACHE_CONTROL
        elif name == b"etag":
            has |= _TAG
    return lines, b"%b%b%b\r\n" % (_BESIDE[has], _ID_LINE, request_id)


def own_answer_lines(
    content_type: str, request_id: str, extra: Iterable[tuple[str, str]] = ()
) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that the gateway makes itself; `extra` ones take precedence."""
    given = {name.lower().encode(): value.encode("latin-1") for name, value in extra}
    defaults = dict((_API_POLICY, _NO_STORE, *SECURITY_HEADERS))
    return [
        (b"content-type", content_type.encode()),
        *{**defaults, **given}.items(),
        (REQUEST_ID_HEADER.encode(), request_id.encode()),
    ]


def _named_by_connection(values: Iterable[str]) -> frozenset[str]:
    names = {name.strip().lower() for value in values for name in value.split(",")}
    return frozenset(names - _HARMLESS_CONNECTION)
