"""Which headers pass, in both directions.

A client never speaks in the gateway's name: what could be taken for its word (identity, addresses,
internal tokens) is dropped before its own is added. What belongs to one connection only (RFC 9110
§7.6.1) ends here, also when a Connection header says so. Cookies pass in neither direction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from sanic.compat import Header

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip
_NOT_FORWARDED: Final = _HOP_BY_HOP | {
    "authorization", "x-api-key", "cookie", "forwarded", "x-client-address", "x-real-ip",
    "x-request-id", "traceparent", "tracestate", "host", "content-length", "expect",
    "x-deadline-ms",
}  # fmt: skip
_NOT_FORWARDED_PREFIXES: Final = ("x-internal-", "x-user-", "x-forwarded-")
_NOT_RETURNED: Final = frozenset(
    name.encode()
    for name in {
        *_HOP_BY_HOP, "content-length", "set-cookie", "server", "alt-svc", "x-request-id",
        "x-content-type-options", "x-frame-options", "referrer-policy",
    }
)  # fmt: skip
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


def forwarded_lines(headers: Header) -> list[str]:
    """The client's headers that go on to a service, each as a whole line."""
    named = _named_by_connection(headers.getall("connection", ()))
    return [
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if name not in _NOT_FORWARDED
        and "_" not in name
        and name not in named
        and not name.startswith(_NOT_FORWARDED_PREFIXES)
    ]


def own_lines(
    *, token: str, request_id: str, trace: str, address: str, scheme: str, host: str
) -> str:
    """What the gateway itself says about a request. `trace` is a block of lines of its own."""
    shown = host if _HOST.fullmatch(host) else ""
    return (
        f"x-internal-token: {token}\r\n"
        f"x-request-id: {request_id}\r\n"
        f"{trace}"
        f"x-client-address: {address}\r\n"
        f"x-forwarded-for: {address}\r\n"
        f"x-forwarded-proto: {scheme}\r\n" + (f"x-forwarded-host: {shown}\r\n" if shown else "")
    )


def returned_lines(
    headers: Sequence[tuple[bytes, bytes]], request_id: bytes
) -> list[tuple[bytes, bytes]]:
    """A service's headers that go back to the client, with the gateway's own."""
    named = _named_by_connection(
        value.decode("latin-1") for name, value in headers if name == b"connection"
    )
    lines = [
        (name, value)
        for name, value in headers
        if name not in _NOT_RETURNED
        and not name.startswith(b"x-internal-")
        and (not named or name.decode("latin-1") not in named)
    ]
    present = {name for name, _ in lines}
    if b"content-security-policy" not in present:
        lines.append(_API_POLICY)
    if b"cache-control" not in present:
        lines.append(_NO_STORE)
    lines += SECURITY_HEADERS
    lines.append((b"x-request-id", request_id))
    return lines


def own_answer_lines(
    content_type: str, request_id: str, extra: Iterable[tuple[str, str]] = ()
) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that the gateway makes itself; `extra` ones take precedence."""
    given = {name.lower().encode(): value.encode("latin-1") for name, value in extra}
    defaults = dict((_API_POLICY, _NO_STORE, *SECURITY_HEADERS))
    return [
        (b"content-type", content_type.encode()),
        *{**defaults, **given}.items(),
        (b"x-request-id", request_id.encode()),
    ]


def _named_by_connection(values: Iterable[str]) -> frozenset[str]:
    names = {name.strip().lower() for value in values for name in value.split(",")}
    return frozenset(names - _HARMLESS_CONNECTION)
