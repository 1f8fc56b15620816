"""The items of POST /api/v1/batch, cut out of its body; each item's body as the client wrote it.

What an item sends is neither decoded nor written anew: its service gets the bytes that it would get
if the item had been sent alone, and answers what can't be taken in them as it would then. Only what
the gateway itself goes by is read here: method, path and headers.

The C scanner of the standard library passes over all values: 10 ms for 1 MB of what clients send,
0.2 s for nothing but brackets. It lets no other thread run meanwhile: so a batch is limited to half
of what other bodies are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from gateway.http.path import normalise
from gateway.own_api.batch_schemas import MAX_ITEMS, BatchItem
from shared.errors import InvalidInput, LoomaError, MalformedRequest
from shared.json_document import BOM, malformed, read_json
from shared.media_type import require_utf_8
from shared.serving.validation import validate

BATCH_PATH: Final = "/api/v1/batch"
BATCH_LIMIT: Final = 512 << 10  # bytes of its body
_API: Final = "/api/"
_FIELDS: Final = frozenset(BatchItem.model_fields)
_SENT: Final = frozenset(
    {"accept", "accept-language", "idempotency-key", "if-match", "if-none-match"}
)
_SPACE: Final = re.compile(r"[ \t\r\n]*+")
# Numbers are passed over, whatever their size: nothing is made of them.
_SCANNER: Final = json.JSONDecoder(strict=False, parse_int=len, parse_float=len, parse_constant=len)


@dataclass(frozen=True, slots=True)
class SubRequest:
    """One item as it is carried out. `target`: path and query as the client wrote them, ASCII."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes | None  # JSON, or what a client takes for it
    request_id: str


def read_items(body: bytes) -> list[SubRequest | LoomaError]:
    """The 1 to 100 items in the order sent; in the place of a wrong one its error.

    Raises MalformedRequest (400), UnsupportedMediaType (415) or InvalidInput (422) if the batch as a
    whole is none.
    """
    if not body:
        raise MalformedRequest("The body is empty. Send a JSON object.")
    require_utf_8(body)
    try:
        return _batch(_Cursor(body.removeprefix(BOM)))
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg}: byte {error.pos + 1}") from None
    except RecursionError:
        raise malformed("is nested too deep") from None


def _batch(cursor: _Cursor) -> list[SubRequest | LoomaError]:
    if not cursor.stands_at("{"):
        cursor.value()
        raise InvalidInput.of("body", "is not a JSON object", 'send {"requests": […]}')
    found: list[SubRequest | LoomaError] = []
    for name in cursor.members():
        if name != "requests":
            raise InvalidInput.of(
                name, "is not a field of a batch", "remove it or correct its name"
            )
        if found:
            raise InvalidInput.of(name, "is given twice", "give it once")
        found = _requests(cursor)
    cursor.end()
    if not found:
        raise InvalidInput.of("requests", "is missing", "add this field")
    return found


def _requests(cursor: _Cursor) -> list[SubRequest | LoomaError]:
    if not cursor.stands_at("["):
        cursor.value()
        raise InvalidInput.of("requests", "is not a list", f"send 1 to {MAX_ITEMS} requests")
    found: list[SubRequest | LoomaError] = []
    for _ in cursor.items():
        if len(found) == MAX_ITEMS:
            raise InvalidInput.of(
                "requests", f"has more than {MAX_ITEMS} items", "send fewer at once"
            )
        found.append(_item(cursor))
    if not found:
        raise InvalidInput.of("requests", "is empty", f"send 1 to {MAX_ITEMS} requests")
    return found


def _item(cursor: _Cursor) -> SubRequest | LoomaError:
    start = cursor.at
    try:
        return _sub_request(_parts(cursor))
    except LoomaError as error:
        cursor.at = start
        cursor.value()
        return error


def _parts(cursor: _Cursor) -> dict[str, bytes]:
    """The fields of the item here, as they are written."""
    if not cursor.stands_at("{"):
        raise InvalidInput.of("item", "is not a JSON object", "send method and path in one")
    parts: dict[str, bytes] = {}
    for name in cursor.members():
        if name not in _FIELDS:
            raise InvalidInput.of(
                name, "is not a field of an item", "remove it or correct its name"
            )
        if name in parts:
            raise InvalidInput.of(name, "is given twice", "give it once")
        parts[name] = cursor.value()
    return parts


def _sub_request(parts: dict[str, bytes]) -> SubRequest:
    """A checked item; LoomaError for what it can't be."""
    body = parts.pop("body", b"null")
    head = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in parts.items())
    parsed: BatchItem = validate(BatchItem, read_json(b"{%b}" % head), "item")
    _require_api(parsed.path)
    headers = {name.lower(): value for name, value in parsed.headers.items()}
    for name in headers:
        if name not in _SENT:
            raise InvalidInput.of(
                f"headers.{name[:50]}",
                "can't be set for one item",
                f"leave it out; {', '.join(sorted(_SENT))} can",
            )
    if body == b"null":
        return SubRequest(parsed.method, parsed.path, tuple(headers.items()), None, str(uuid4()))
    headers["content-type"] = "application/json"
    return SubRequest(parsed.method, parsed.path, tuple(headers.items()), body, str(uuid4()))


def _require_api(path: str) -> None:
    if "#" in path:
        raise InvalidInput.of("path", "holds a '#'", "leave the fragment out")
    asked = normalise(path.partition("?")[0].encode())
    if not asked.startswith(_API):
        # The gateway's own pages go by where a request comes from, and an item comes from nowhere.
        raise InvalidInput.of(
            "path", f"is not below {_API}", "ask for it with a request of its own"
        )
    if asked == BATCH_PATH:
        raise InvalidInput.of("path", "is a batch in a batch", "put its items into this one")


class _Cursor:
    """Where reading a JSON text has come to: always at a value or a sign, never at space.

    Raises JSONDecodeError where the text is none.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._text = body.decode("latin-1")  # a character is a byte, whatever it is a part of
        self.at = 0
        self._pass(0)

    def stands_at(self, sign: str) -> bool:
        return self._text.startswith(sign, self.at)

    def value(self) -> bytes:
        """The value here, as it is written."""
        start = self.at
        _, end = _SCANNER.raw_decode(self._text, start)
        self._pass(end)
        return self._body[start:end]

    def members(self) -> Iterator[str]:
        """The names of the object here; the value of each is to be read before the next."""
        self._take("{")
        if self.stands_at("}"):
            return self._take("}")
        while True:
            yield self._name()
            if self.stands_at("}"):
                return self._take("}")
            self._take(",")

    def items(self) -> Iterator[None]:
        """For each item of the list here, which is to be read before the next."""
        self._take("[")
        if self.stands_at("]"):
            return self._take("]")
        while True:
            yield
            if self.stands_at("]"):
                return self._take("]")
            self._take(",")

    def end(self) -> None:
        if self.at != len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self.at)

    def _name(self) -> str:
        if not self.stands_at('"'):
            raise json.JSONDecodeError("Expecting a name in double quotes", self._text, self.at)
        name = json.loads(self.value().decode(errors="replace"), strict=False)
        self._take(":")
        return str(name)

    def _take(self, sign: str) -> None:
        if not self.stands_at(sign):
            raise json.JSONDecodeError(f"Expecting '{sign}'", self._text, self.at)
        self._pass(self.at + 1)

    def _pass(self, at: int) -> None:
        space = _SPACE.match(self._text, at)
        self.at = at if space is None else space.end()
