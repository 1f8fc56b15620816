"""What a request's head must be before anything in it is believed (RFC 9112).

The HTTP server underneath accepts more than the grammar: blanks before a colon, folded lines,
bare CR, LF and NUL, two Hosts. Whoever reads such a head differently can be made to see another
request, so it is refused here, in one pass over its bytes.
"""

from __future__ import annotations

import re
from typing import Final

from sanic.request import Request

from shared.errors import MalformedRequest

_HEAD: Final = re.compile(
    rb"[A-Z]{1,16} [!-~]+ HTTP/1\.[01]"
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*)*"
)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def check_head(request: Request) -> None:
    """Raise MalformedRequest (400) unless the head follows the grammar."""
    if not _HEAD.fullmatch(request.head):
        raise MalformedRequest("The head of the request is not well-formed HTTP.")
    headers = request.headers
    hosts = headers.getall("host", ())
    if len(hosts) > 1 or (not hosts and request.version != "1.0"):
        raise MalformedRequest("A request has exactly one Host header. Send one.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise MalformedRequest("The Host header names no host. Send host or host:port.")
    lengths = headers.getall("content-length", ())
    if lengths and not (lengths[0].isascii() and lengths[0].isdigit()):
        raise MalformedRequest("Content-Length is not a number of bytes. Send digits only.")
    if "transfer-encoding" in headers and request.version == "1.0":
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding. Send Content-Length.")


def split_target(target: bytes) -> tuple[bytes, str]:
    """Path and query (with its '?', or '') of a request target in origin form."""
    if not target.startswith(b"/") or b"#" in target:
        raise MalformedRequest("The request target must be a path such as /api/v1/periods.")
    path, mark, query = target.partition(b"?")
    return path, (mark + query).decode("ascii")
