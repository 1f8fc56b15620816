"""A service's answer as a value that can be kept: in memory, or as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from shared.wire import REQUEST_ID_HEADER

KEPT_BODY_LIMIT: Final = 256 * 1024
Lines = tuple[tuple[bytes, bytes], ...]  # header names in lower case

# What belongs to one exchange or one connection, and not to the answer.
_NOT_KEPT: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"trailer",
        b"upgrade", b"content-length", b"set-cookie", REQUEST_ID_HEADER.encode(),
        b"idempotent-replayed",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    status: int
    headers: Lines
    body: bytes
    request_id: str = ""  # with which the envelope in the body ends; '' if it is none

    @classmethod
    def of(
        cls,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        request_id: str = "",
    ) -> StoredAnswer:
        """Without the headers that belong to one exchange only; `request_id` is that exchange's."""
        kept = tuple(
            (name, value)
            for name, value in headers
            if name not in _NOT_KEPT and not name.startswith(b"ratelimit")
        )
        enveloped = bool(request_id) and body.endswith(_end(request_id))
        return cls(status, kept, body, request_id if enveloped else "")

    @property
    def data(self) -> bytes:
        """The body without the id of its request."""
        return self.body[: -len(_end(self.request_id))] if self.request_id else self.body

    def answering(self, request_id: str) -> StoredAnswer:
        """The same for another request: an envelope names the request that it answers."""
        if self.request_id in ("", request_id):
            return self
        body = self.data + _end(request_id)
        return StoredAnswer(self.status, self.headers, body, request_id)

    def header(self, name: bytes) -> str:
        """All values of a header, joined by commas; '' if there is none."""
        return ", ".join(value.decode("latin-1") for key, value in self.headers if key == name)

    def directives(self) -> frozenset[str]:
        """The names in Cache-Control, in lower case."""
        parts = self.header(b"cache-control").lower().split(",")
        return frozenset(part.partition("=")[0].strip() for part in parts) - {""}

    def to_bytes(self) -> bytes:
        """One line of JSON, then the body as it is."""
        head = {
            "status": self.status,
            "headers": [(name.decode(), value.decode("latin-1")) for name, value in self.headers],
            "request_id": self.request_id,
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredAnswer:
        """The answer that `to_bytes` wrote; ValueError for anything else."""
        line, newline, body = data.partition(b"\n")
        try:
            head = orjson.loads(line)
            headers = tuple(
                (name.encode(), value.encode("latin-1")) for name, value in head["headers"]
            )
            status = int(head["status"])
            request_id = head.get("request_id", "")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no kept answer") from error
        if not newline:
            raise ValueError("no kept answer")
        enveloped = isinstance(request_id, str) and body.endswith(_end(request_id))
        return cls(status, headers, body, request_id if enveloped else "")


def _end(request_id: str) -> bytes:
    return b',"request_id":"%b"}' % request_id.encode()
