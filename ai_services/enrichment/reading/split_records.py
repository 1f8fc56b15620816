"""Cut the body of `POST /api/v1/calls` into its records, as the client wrote them.

Nothing is decoded here and nothing is written anew: each record goes to the reader of JSON Lines
as the bytes that were sent. So a record means the same in a request and in a file, and one that
can't be read (half a surrogate pair, bytes that are no UTF-8, a number without end) is refused by
itself. Only strings and brackets are looked at: that is enough to know where a record ends.
"""

from __future__ import annotations

import json
import re
from typing import Final

from ai_services.enrichment.reading.file_format import UTF8_BOM
from shared.errors import Detail, InvalidInput, MalformedRequest
from shared.media_type import require_utf_8

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,:"\[\]{}]++')
# Up to the next bracket, over whatever text lies between.
_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
# Up to the comma or the bracket that ends the item of a list, over scalars.
_TO_END: Final = re.compile(rb'(?:[^",\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([,\[\]{}])', re.DOTALL)
# Deeper than any decoder goes: what is nested less is a record that is refused by itself.
_MAX_DEPTH: Final = 10_000
_CLOSES: Final = {b"[": b"]", b"{": b"}"}


def split_records(body: bytes, most: int) -> list[bytes]:
    """The items of `records`, 1 to `most` of them, in the order sent.

    A byte order mark is left out. Raises UnsupportedMediaType (415) for another encoding or a
    compressed body, MalformedRequest (400) where the brackets don't show where a record ends, InvalidInput
    (422) for a body that is no `{"records": […]}`.
    """
    require_utf_8(body)
    at = _space(body, len(UTF8_BOM) if body.startswith(UTF8_BOM) else 0)
    if at == len(body):
        raise MalformedRequest('The body is empty. Send {"records": […]}.')
    if body[at : at + 1] != b"{":
        _end_of_value(body, at)
        raise InvalidInput.of("body", "is not a JSON object", 'send {"records": […]}')
    records: list[bytes] | None = None
    at = _space(body, at + 1)
    while body[at : at + 1] != b"}":
        name, at = _member_name(body, at)
        if name != "records":
            raise InvalidInput.of(
                name, "is not a field of this body", "remove it or correct its name"
            )
        if records is not None:
            raise InvalidInput.of("records", "is given more than once", "give it once")
        records, at = _items(body, at, most)
        at = _space(body, at)
        if body[at : at + 1] == b",":
            at = _space(body, at + 1)
            if body[at : at + 1] != b'"':
                raise _malformed(at)
        elif body[at : at + 1] != b"}":
            raise _malformed(at)
    if _space(body, at + 1) != len(body):
        raise _malformed(at + 1)
    if records is None:
        raise InvalidInput.of("records", "is missing", "add this field")
    return records


def _member_name(body: bytes, at: int) -> tuple[str, int]:
    """The name of the member at `at`, and where its value begins."""
    match = _STRING.match(body, at)
    if match is None:
        raise _malformed(at)
    try:
        name = str(json.loads(match[0], strict=False))
    except ValueError:
        raise _malformed(at) from None
    colon = _space(body, match.end())
    if body[colon : colon + 1] != b":":
        raise _malformed(colon)
    return name, _space(body, colon + 1)


def _items(body: bytes, at: int, most: int) -> tuple[list[bytes], int]:
    """The items of the list at `at`, and where it ends."""
    if body[at : at + 1] != b"[":
        _end_of_value(body, at)
        raise InvalidInput.of(
            "records", "is not a list", f"send a list of 1 to {most:,} call records"
        )
    items: list[bytes] = []
    start = at = at + 1
    while True:
        match = _TO_END.match(body, at)
        if match is None:
            raise _malformed(at)
        at = match.end()
        if match[1] in _CLOSES:
            at = _end_of_brackets(body, at - 1)
            continue
        if match[1] == b"}":
            raise _malformed(at - 1)
        item = body[start : at - 1].strip(b" \t\r\n")
        if not item and (items or match[1] == b","):
            raise _malformed(at - 1)
        if item:
            items.append(item)
        if len(items) > most:
            raise InvalidInput.of(
                "records", f"has more than {most:,} items", "send fewer per request"
            )
        if match[1] == b"]":
            if not items:
                raise InvalidInput.of("records", "is empty", f"send 1 to {most:,} call records")
            return items, at
        start = at


def _end_of_value(body: bytes, at: int) -> int:
    """Where the value at `at` ends; MalformedRequest if it doesn't."""
    if body[at : at + 1] in _CLOSES:
        return _end_of_brackets(body, at)
    match = _STRING.match(body, at) or _SCALAR.match(body, at)
    if match is None:
        raise _malformed(at)
    return match.end()


def _end_of_brackets(body: bytes, at: int) -> int:
    """Where the object or list that begins at `at` ends."""
    expected = bytearray()
    while True:
        match = _TO_BRACKET.match(body, at)
        if match is None:
            raise _malformed(at)
        at = match.end()
        closing = _CLOSES.get(match[1])
        if closing is not None:
            expected += closing
            if len(expected) > _MAX_DEPTH:
                raise _not_json(f"is nested more than {_MAX_DEPTH:,} levels deep")
        elif expected.pop() != match[1][0]:
            raise _malformed(at - 1)
        elif not expected:
            return at


def _space(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _malformed(at: int) -> MalformedRequest:
    return _not_json(f"its strings and brackets don't close as they should, seen at byte {at + 1}")


def _not_json(problem: str) -> MalformedRequest:
    return MalformedRequest(
        "The body is not valid JSON.",
        details=[Detail("body", problem, "send well-formed UTF-8 JSON")],
    )
