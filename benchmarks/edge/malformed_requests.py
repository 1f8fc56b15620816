"""Requests that two servers on one path may read differently, and what a server does with them.

RFC 9112 lets a server repair four of these (a bare LF that ends a line, a folded line, a length
beside chunks, chunks in HTTP/1.0). Whoever stands behind another server must refuse them all the
same: it can't know which repair the other one chose.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from benchmarks.edge.host import NotMeasured

_WAIT_S: Final = 1.0
_REFUSALS: Final = frozenset({400, 408, 413, 431})
_GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n"
_POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"

WELL_FORMED: Final[Mapping[str, bytes]] = {
    "GET": _GET + b"\r\n",
    "body of known length": _POST + b"Content-Length: 3\r\n\r\nabc",
    "body in chunks": _POST + _CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
}
MALFORMED: Final[Mapping[str, bytes]] = {
    "no Host": b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "two Hosts": _GET + b"Host: y\r\n\r\n",
    "blank before the colon": _POST + b"Content-Length : 3\r\n\r\nabc",
    "bare LF": _GET + b"X: a\nY: b\r\n\r\n",
    "bare CR": _GET + b"X: a\rY: b\r\n\r\n",
    "NUL in a value": _GET + b"X: a\0b\r\n\r\n",
    "invalid name": _GET + b"X(a): b\r\n\r\n",
    "folded line": _GET + b"X: a\r\n b: c\r\n\r\n",
    "length beside chunks": _POST + b"Content-Length: 3\r\n" + _CHUNKED + b"0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\n" + _CHUNKED + b"0\r\n\r\n",
    "chunk size 0x5": _POST + _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk ends with other bytes": _POST + _CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
}


def accepted(port: int) -> list[str]:
    """The malformed requests that the server doesn't refuse.

    Refused is what gets 400, 408, 413 or 431 or nothing at all, and then the end of its connection.
    NotMeasured for a server that doesn't take well-formed requests: its refusals say nothing.
    """
    for name, request in WELL_FORMED.items():
        status, _ = _sent(port, request)
        if status != 200:
            raise NotMeasured(f"a well-formed request ({name}) got {status or 'no answer'}")
    found = []
    for name, request in MALFORMED.items():
        status, closed = _sent(port, request)
        if not closed or status not in {*_REFUSALS, None}:
            found.append(name)
    return found


def _sent(port: int, request: bytes) -> tuple[int | None, bool]:
    """The status of the first answer, and whether the connection ended."""
    received, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), _WAIT_S) as connection:
        connection.sendall(request)
        try:
            while not received.startswith(b"HTTP/1.1 200"):
                part = connection.recv(65_536)
                received += part
                if not part:
                    closed = True
                    break
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
    status = received[9:12]
    return (int(status) if status.isdigit() else None), closed
