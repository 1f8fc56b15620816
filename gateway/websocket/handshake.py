"""The handshake of a WebSocket (RFC 6455 §4), read strictly on both sides; no I/O.

Nothing of it passes as it came: the service's request and the client's answer are written anew, and
extensions are never offered, so that whoever looks at frames later need not know any.

A browser can't set Authorization here. It offers its token as the subprotocol `looma.bearer.TOKEN`
beside those that it means; the token goes no further than to whoever checks it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.http.headers import Headers
from shared.errors import MalformedRequest, UpgradeRequired, UpstreamError

Lines = Sequence[tuple[bytes, bytes]]
BEARER: Final = "looma.bearer."
VERSION: Final = "13"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes, spelt in the one way there is
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PREFIX: Final = "sec-websocket-"
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client's handshake that keeps the rules."""

    key: str
    protocols: tuple[str, ...]  # that it offers to the service
    headers: Headers = field(repr=False)  # all others; a token offered as one is Authorization here

    def request_lines(self) -> str:
        """The header lines that make the request to the service a handshake."""
        offered = f"{_PREFIX}protocol: {', '.join(self.protocols)}\r\n" if self.protocols else ""
        return (
            f"connection: Upgrade\r\nupgrade: websocket\r\n{_PREFIX}version: {VERSION}\r\n"
            f"{_PREFIX}key: {self.key}\r\n{offered}"
        )

    def answer(self, said: Lines, more: bytes) -> bytes:
        """The head that opens the client's side, if what the service `said` with its 101 is right.

        `more` are header lines of the gateway's own, as they go out.

        UpstreamError if it answers another handshake, or chose what was not offered.
        """
        accept = accept_of(self.key)
        if _values(said, b"upgrade") != ["websocket"]:
            raise _wrong("doesn't upgrade to a WebSocket")
        if "upgrade" not in _values(said, b"connection"):
            raise _wrong("has no Connection: Upgrade")
        if _raw(said, b"sec-websocket-accept") != [accept]:
            raise _wrong("answers another handshake")
        if any(name in _FRAMING or name == b"sec-websocket-extensions" for name, _ in said):
            raise _wrong("has a body or an extension that nobody asked for")
        chosen = _raw(said, b"sec-websocket-protocol")
        if len(chosen) > 1 or not set(chosen) <= set(self.protocols):
            raise _wrong("chooses a subprotocol that was not offered")
        lines = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", accept.encode()),
            *((b"sec-websocket-protocol", one.encode()) for one in chosen),
        ]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        return b"HTTP/1.1 101 Switching Protocols\r\n" + head + more + b"\r\n"


def read_handshake(headers: Headers, version: str, method: str = "GET") -> Handshake:
    """A request's handshake. UpgradeRequired if it is none, or of another version of the protocol;
    MalformedRequest if it is one that breaks the rules.
    """
    upgrades = _options(headers.getall("upgrade"))
    if method != "GET" or version != "1.1" or "websocket" not in upgrades:
        raise UpgradeRequired("This path is a WebSocket. Open it with a WebSocket client.")
    if upgrades != ["websocket"]:
        raise _malformed("Send Upgrade: websocket once, and no other protocol with it.")
    if "upgrade" not in _options(headers.getall("connection")):
        raise _malformed("Send Connection: Upgrade; a proxy in between may have dropped it.")
    if "content-length" in headers or "transfer-encoding" in headers:
        raise _malformed("It has no body. Send neither Content-Length nor Transfer-Encoding.")
    if list(headers.getall("sec-websocket-version")) != [VERSION]:
        raise UpgradeRequired(f"The one known version is Sec-WebSocket-Version: {VERSION}.")
    keys = headers.getall("sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise _malformed("Send one Sec-WebSocket-Key: 16 random bytes in base64.")
    protocols = _protocols(headers.getall("sec-websocket-protocol"))
    others = [(name, one) for name, one in headers.items() if not name.startswith(_PREFIX)]
    tokens = [one.removeprefix(BEARER) for one in protocols if one.startswith(BEARER)]
    others += [("authorization", f"Bearer {token}") for token in tokens]
    meant = tuple(one for one in protocols if not one.startswith(BEARER))
    return Handshake(keys[0], meant, Headers(others))


def accept_of(key: str) -> str:
    """The Sec-WebSocket-Accept that proves that `key` was read."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def same_host(origin: str, host: str) -> bool:
    """Whether an Origin's page came from the same host and port that a Host header names."""
    try:
        page = urlsplit(origin)
        port = _PORTS[page.scheme]
        asked = urlsplit(f"//{host}")
        return bool(page.hostname) and (
            (page.hostname, page.port or port) == (asked.hostname, asked.port or port)
        )
    except (KeyError, ValueError):  # `null`, an extension's page, no origin at all
        return False


def _protocols(values: Sequence[str]) -> list[str]:
    found = [one.strip(" \t") for value in values for one in value.split(",")]
    if len(set(found)) != len(found) or not all(map(_TOKEN.fullmatch, found)):
        raise _malformed("Sec-WebSocket-Protocol must list different names, by comma.")
    return found


def _options(values: Iterable[str]) -> list[str]:
    return [one.strip(" \t").lower() for value in values for one in value.split(",")]


def _raw(lines: Lines, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in lines if name == wanted]


def _values(lines: Lines, wanted: bytes) -> list[str]:
    return _options(_raw(lines, wanted))


def _malformed(fix: str) -> MalformedRequest:
    return MalformedRequest(f"The WebSocket handshake is wrong. {fix}")


def _wrong(problem: str) -> UpstreamError:
    return UpstreamError(f"The service's answer to the WebSocket handshake {problem}.")
