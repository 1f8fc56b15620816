"""A reader of HTTP/1.1 requests written straight from the RFCs, to compare the gateway with.

It shares no code with it and uses no regular expressions: byte by byte, refusing whatever
RFC 9110 §5 and RFC 9112 §2–7 don't allow a sender to send, and what the gateway's documented limits
don't allow either. It knows nothing of routes.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = frozenset(b"0123456789")
HEX = DIGITS | frozenset(b"abcdefABCDEF")
LETTERS = frozenset(range(ord("a"), ord("z") + 1)) | frozenset(range(ord("A"), ord("Z") + 1))
TCHAR = DIGITS | LETTERS | frozenset(b"!#$%&'*+-.^_`|~")
VCHAR = frozenset(range(0x21, 0x7F))
OBS_TEXT = frozenset(range(0x80, 0x100))
FIELD_VALUE = VCHAR | OBS_TEXT | frozenset(b" \t")
QDTEXT = FIELD_VALUE - frozenset(b'"\\')
HOST = LETTERS | DIGITS | frozenset(b"-._:[]")


class Refused(Exception):
    """No sender may send this."""


class Incomplete(Exception):
    """More has to come."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    version: str
    fields: tuple[tuple[str, bytes], ...]
    body: bytes
    trailers: tuple[tuple[str, bytes], ...] = ()

    def values(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    @property
    def closes(self) -> bool:
        options = [
            option.strip().lower()
            for value in self.values("connection")
            for option in value.split(b",")
        ]
        if self.version == "HTTP/1.0":
            return b"keep-alive" not in options
        return b"close" in options


def requests_in(data: bytes) -> tuple[list[Request], str]:
    """All requests of one connection, and why there are no more: 'end', 'incomplete', 'refused' or
    'closed' (a request said that it is the last one)."""
    found: list[Request] = []
    at = 0
    while at < len(data):
        try:
            request, at = request_at(data, at)
        except Incomplete:
            return found, "incomplete"
        except Refused:
            return found, "refused"
        found.append(request)
        if request.closes:
            return found, "closed"
    return found, "end"


def request_at(data: bytes, at: int, *, limited: bool = True) -> tuple[Request, int]:
    """The request that begins there, and where it ends; with the gateway's limits if `limited`."""
    begin = at
    line, at = _line(data, at)
    if limited and len(line) > 8192:
        raise Refused("request line too long")
    method, target, version = _request_line(line)
    fields, at = _fields(data, at)
    if limited and (at - begin > 32768 or len(fields) > 100):
        raise Refused("too many or too long fields")
    _check_host(target, version, [value for name, value in fields if name == "host"])
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise Refused("contradicting lengths")
    trailers: list[tuple[str, bytes]] = []
    body = b""
    if codings:
        if version == "HTTP/1.0" or codings[0].lower() != b"chunked":
            raise Refused("unknown coding")
        body, trailers, at = _chunks(data, at)
    elif lengths:
        if not lengths[0] or any(byte not in DIGITS for byte in lengths[0]):
            raise Refused("length")
        end = at + int(lengths[0])
        if end > len(data):
            raise Incomplete
        body, at = data[at:end], end
    return Request(method, target, version, tuple(fields), body, tuple(trailers)), at


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """A line without its CRLF; CR and LF occur nowhere else."""
    start = at
    while at < len(data):
        if data[at] == 0x0A:
            raise Refused("bare LF")
        if data[at] == 0x0D:
            if at + 1 == len(data):
                raise Incomplete
            if data[at + 1] != 0x0A:
                raise Refused("bare CR")
            return data[start:at], at + 2
        at += 1
    raise Incomplete


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise Refused("request line")
    method, target, version = parts
    if not method or any(byte not in TCHAR for byte in method):
        raise Refused("method")
    if not target or any(byte not in VCHAR for byte in target) or b"#" in target:
        raise Refused("target")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused("version")
    if method == b"CONNECT":
        raise Refused("no tunnels")
    if not target.startswith((b"/", b"http://", b"https://")) and not (
        target == b"*" and method == b"OPTIONS"
    ):
        raise Refused("target form")
    return method.decode(), target.decode(), version.decode()


def _fields(data: bytes, at: int) -> tuple[list[tuple[str, bytes]], int]:
    fields: list[tuple[str, bytes]] = []
    while True:
        line, at = _line(data, at)
        if not line:
            return fields, at
        name, colon, value = line.partition(b":")
        if not colon or not name or any(byte not in TCHAR for byte in name):
            raise Refused("field name")
        if any(byte not in FIELD_VALUE for byte in value):
            raise Refused("field value")
        fields.append((name.decode().lower(), value.strip(b" \t")))


def _check_host(target: str, version: str, hosts: list[bytes]) -> None:
    if len(hosts) > 1 or (not hosts and version == "HTTP/1.1"):
        raise Refused("not one Host")
    if hosts and (not hosts[0] or any(byte not in HOST for byte in hosts[0])):
        raise Refused("Host")
    if not target.startswith(("/", "*")):
        authority = target.partition("//")[2].partition("/")[0].partition("?")[0]
        if not hosts or authority.lower() != hosts[0].decode().lower():
            raise Refused("two hosts")


def _chunks(data: bytes, at: int) -> tuple[bytes, list[tuple[str, bytes]], int]:
    body = b""
    while True:
        size, at = _chunk_size(data, at)
        if size == 0:
            trailers, at = _fields(data, at)
            return body, trailers, at
        if at + size > len(data):
            raise Incomplete
        body, at = body + data[at : at + size], at + size
        if not b"\r\n".startswith(data[at : at + 2]):
            raise Refused("chunk end")
        if at + 2 > len(data):
            raise Incomplete
        at += 2


def _chunk_size(data: bytes, at: int) -> tuple[int, int]:
    line, at = _line(data, at)
    digits, mark, extension = line.partition(b";")
    if not 1 <= len(digits) <= 16 or any(byte not in HEX for byte in digits):
        raise Refused("chunk size")
    if mark:
        _check_extension(extension)
    return int(digits, 16), at


def _check_extension(text: bytes) -> None:
    """name [ "=" ( token / quoted-string ) ] *( ";" … )"""
    at = 0
    while True:
        at = _token(text, at)
        if at < len(text) and text[at : at + 1] == b"=":
            at = _quoted(text, at + 1) if text[at + 1 : at + 2] == b'"' else _token(text, at + 1)
        if at == len(text):
            return
        if text[at : at + 1] != b";":
            raise Refused("chunk extension")
        at += 1


def _token(text: bytes, at: int) -> int:
    start = at
    while at < len(text) and text[at] in TCHAR:
        at += 1
    if at == start:
        raise Refused("token")
    return at


def _quoted(text: bytes, at: int) -> int:
    at += 1
    while at < len(text):
        if text[at : at + 1] == b'"':
            return at + 1
        if text[at : at + 1] == b"\\":
            at += 1
            if at == len(text) or text[at] not in FIELD_VALUE:
                break
        elif text[at] not in QDTEXT:
            break
        at += 1
    raise Refused("quoted string")
