"""The head of a client's request, read strictly (RFC 9110, RFC 9112).

Whatever two servers on one path could read differently is refused, never repaired: blanks before a
colon, folded lines, bare CR and LF, two Hosts, contradicting lengths. A head is its request line and
what stands between CRLFs, each a whole match of one regular expression.

Bytes above 0x7F (obs-text) are opaque: field values may have them and keep them as they are, names,
targets, Host and whatever frames the body may not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from gateway.http.header_policy import forwarded_line
from gateway.http.headers import Headers
from shared.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    LoomaError,
    MalformedRequest,
    UriTooLong,
)

MAX_REQUEST_LINE: Final = 8_192
MAX_HEAD: Final = 32_768  # with the request line and the empty line at the end
MAX_FIELDS: Final = 100

_TCHAR: Final = r"!#$%&'*+.^_`|~0-9A-Za-z-"
_REQUEST_LINE: Final = re.compile(rb'([A-Z][A-Z-]{0,31}) ([!-"$-~]+) HTTP/1\.([01])\r\n')
FIELDS: Final = rf"(?:[{_TCHAR}]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n"
_FIELD: Final = re.compile(rf"([{_TCHAR}]++):([^\x00-\x08\x0a-\x1f\x7f]*+)".encode())
# Most field lines are those of thousands of requests before: each is read once.
_KNOWN: Final[dict[bytes, _Line]] = {}
_MOST_KNOWN: Final = 4_096
_LONGEST_KNOWN: Final = 256
_SECRET: Final = frozenset(
    {
        "authorization", "x-api-key", "cookie", "proxy-authorization",
        "sec-websocket-protocol",  # browsers send their token in it
    }
)  # fmt: skip
# What a head must begin with for its fields to be those of the head before.
_PLAIN_LINE: Final = re.compile(rb'(?!CONNECT )([A-Z][A-Z-]{0,31}) (/[!"$-~]*) HTTP/1\.1\r\n')
_SINGLE: Final = frozenset({"host", "content-length", "transfer-encoding", "expect"})
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9._-]{1,255}|\[([0-9A-Fa-f:.]{2,45})\])"
    r"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
_KNOWN_HOSTS: Final[set[str]] = set()
_MOST_HOSTS: Final = 256
_USUAL_CONNECTION: Final = frozenset({"keep-alive", "Keep-Alive"})
_ABSOLUTE: Final = re.compile(r"https?://([^/?]+)((?:[/?].*)?)", re.IGNORECASE | re.ASCII)
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
# Without ASCII, the Kelvin sign would be a k.
_CHUNKED: Final = re.compile(r"chunked", re.IGNORECASE | re.ASCII)
_CONTINUE: Final = re.compile(r"100-continue", re.IGNORECASE | re.ASCII)
_START: Final = re.compile(rb'[A-Z][A-Z-]{0,31} [!-"$-~]+ HTTP/1\.[01]\r\n')
_NEVER: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n")
_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _Line:
    """One field line: name in lower case, value, and how it goes on to a service ('' if never)."""

    def __init__(self, name: str, value: str) -> None:
        self.pair = (name, value)
        self.forwarded = forwarded_line(name, value)


class Head:
    """`target` is in origin form or '*'. `block` is what stood after the request line."""

    def __init__(
        self,
        method: str,
        target: str,
        minor: str,
        headers: Headers,
        length: int = 0,
        chunked: bool = False,
        keep_alive: bool = False,
        expects_continue: bool = False,
        block: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor  # of the version: '1' or '0'
        self.headers = headers
        self.length = length  # of the body in bytes; 0 for a chunked one
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.block = block


def parse_head(raw: bytes, before: Head | None = None) -> Head:
    """Read a head with the empty line that ends it. `before` is the last one of the connection:
    fields that are the same, byte by byte, are not read again.

    Raises MalformedRequest (400), UriTooLong (414), ExpectationFailed (417) or HeadersTooLarge (431).
    """
    if before is not None and before.block and raw.endswith(before.block):
        line = _PLAIN_LINE.fullmatch(raw, 0, len(raw) - len(before.block))
        if line is not None and line.end() <= MAX_REQUEST_LINE:
            method, path = line.groups()
            return Head(
                method.decode("ascii"), path.decode("ascii"), "1", before.headers, before.length,
                before.chunked, before.keep_alive, before.expects_continue, before.block,
            )  # fmt: skip
    head = _parse(raw)
    if before is not None:
        head.headers.learn_from(before.headers)
    return head


def _parse(raw: bytes) -> Head:
    match = _REQUEST_LINE.match(raw)
    if match is None:
        raise _refusal(raw)
    start = match.end()
    if start > MAX_REQUEST_LINE:
        raise too_long()
    method, target, minor = match[1].decode("ascii"), match[2].decode("ascii"), match[3].decode()
    lines = raw[start:-2].split(b"\r\n")[:-1]
    if len(lines) > MAX_FIELDS:
        raise HeadersTooLarge(f"A request has at most {MAX_FIELDS} header fields. Send fewer.")
    read = [_KNOWN.get(line) or _line(line, raw) for line in lines]
    pairs = [line.pair for line in read]
    headers = Headers(pairs)
    if headers.repeated:
        _check_repeated(pairs)
    host = headers.find("host")
    _check_host(host, minor)
    if method == "CONNECT" or not target.startswith("/"):
        target = _origin_form(method, target, host)
    length, chunked, expects = 0, False, False
    if "transfer-encoding" in headers:
        _check_transfer_encoding(headers, minor)
        chunked = True
    elif "content-length" in headers:
        length = _length(headers["content-length"])
    if "expect" in headers:
        expects = _expects_continue(headers["expect"], minor) and (chunked or length > 0)
    keep_alive, connection = minor == "1", headers.find("connection")
    if connection is None or (connection in _USUAL_CONNECTION and not headers.repeated):
        keep_alive = keep_alive or connection is not None
        headers.forwarded = "".join([line.forwarded for line in read])
    else:
        keep_alive = _keep_alive(headers.getall("connection"), minor)
    # The request line is ASCII: its characters are bytes. 1.0 has rules of its own for fields.
    block = raw[start:] if minor == "1" else b""
    return Head(method, target, minor, headers, length, chunked, keep_alive, expects, block)


def _line(text: bytes, raw: bytes) -> _Line:
    """A field line that isn't known; `raw` is the head that it is of."""
    match = _FIELD.fullmatch(text)
    if match is None:
        raise _refusal(raw)
    name = match[1].decode("ascii").lower()
    line = _Line(name, match[2].decode("utf-8", "surrogateescape").strip(" \t"))
    if len(text) <= _LONGEST_KNOWN and name not in _SECRET:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[text] = line
    return line


def check_beginning(buffer: bytearray, seen: int) -> None:
    """Refuse at once what can't become a head any more; `seen` bytes were looked at before.

    Clients that speak something else (TLS, bare line feeds) never send the end of a head.
    """
    if buffer[0] not in _LETTERS:
        raise MalformedRequest("A request begins with its method in capital letters.")
    if _NEVER.search(buffer, max(0, seen - 1)):
        raise MalformedRequest("Lines end with CRLF, and control characters are not allowed.")
    end = buffer.find(b"\r\n", 0, MAX_REQUEST_LINE)
    if end < 0:
        if len(buffer) >= MAX_REQUEST_LINE:
            raise too_long()
    elif seen <= end + 1 and not _START.match(buffer):
        raise MalformedRequest(_BAD_REQUEST_LINE)
    if len(buffer) >= MAX_HEAD:
        raise HeadersTooLarge(f"The head has more than {MAX_HEAD} bytes. Send fewer or shorter.")


def too_long() -> UriTooLong:
    return UriTooLong(f"The request line has more than {MAX_REQUEST_LINE} bytes. Shorten it.")


_BAD_REQUEST_LINE: Final = (
    "The request line must be a method in capital letters, a target and HTTP/1.1, "
    "with one blank between them."
)


def _refusal(raw: bytes) -> LoomaError:
    """What is wrong with a head that doesn't match."""
    if raw.find(b"\r\n") >= MAX_REQUEST_LINE:
        return too_long()
    if not _START.match(raw):
        return MalformedRequest(_BAD_REQUEST_LINE)
    return MalformedRequest(
        "A header field must be 'name: value' on one line that ends with CRLF, with no blank "
        "before the colon and no control characters."
    )


def _check_repeated(pairs: list[tuple[str, str]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen and name in _SINGLE:
            raise MalformedRequest(f"The header {name} was sent more than once. Send it once.")
        seen.add(name)


def _check_host(host: str | None, minor: str) -> None:
    if host is None:
        if minor == "1":
            raise MalformedRequest("A request has exactly one Host header. Send one.")
        return
    if host in _KNOWN_HOSTS:
        return
    match = _HOST.fullmatch(host)
    if match is None or (match[1] and not _is_ipv6(match[1])):
        raise MalformedRequest("The Host header names no host. Send host or host:port.")
    if len(_KNOWN_HOSTS) >= _MOST_HOSTS:
        _KNOWN_HOSTS.clear()
    _KNOWN_HOSTS.add(host)


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return True


def _origin_form(method: str, target: str, host: str | None) -> str:
    if method == "OPTIONS" and target == "*":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None or method == "CONNECT":
        raise MalformedRequest("The request target must be a path such as /api/v1/periods.")
    authority, rest = match.groups()
    if host is None or authority.lower() != host.lower():
        raise MalformedRequest("The request target names another host than the Host header.")
    return rest if rest.startswith("/") else f"/{rest}"


def _check_transfer_encoding(fields: Headers, minor: str) -> None:
    if minor == "0":
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding. Send Content-Length.")
    if "content-length" in fields:
        raise MalformedRequest("Send Content-Length or Transfer-Encoding, not both.")
    if not _CHUNKED.fullmatch(fields["transfer-encoding"]):
        raise MalformedRequest("The only known Transfer-Encoding is chunked.")


def _length(value: str) -> int:
    if not _LENGTH.fullmatch(value):
        raise MalformedRequest("Content-Length is not a number of bytes. Send digits only.")
    return int(value)


def _expects_continue(value: str, minor: str) -> bool:
    if not _CONTINUE.fullmatch(value):
        raise ExpectationFailed("The only known expectation is 100-continue.")
    return minor == "1"


def _keep_alive(values: Sequence[str], minor: str) -> bool:
    options = {option.strip(" \t").lower() for value in values for option in value.split(",")}
    return "close" not in options if minor == "1" else options == {"keep-alive"}
