"""Find the calls in a JSON document, and cut it into their JSON Lines, in bounded memory.

A document is an array of calls; an object with one in it, at any depth (`{"data": {"items": […]}}`);
or objects one after another, over several lines each or in one line; or arrays one after another, as page
after page is appended to a file. Calls are counted from 1. Nothing is decoded: only strings and brackets are looked at, so that a call that can't be read is refused by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from ai_services.enrichment.reading.content.lines import Block, Cut, Event, LongLine
from ai_services.enrichment.reading.content.recoded import Bytes

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,:"\[\]{}]++')
# Up to the next bracket, over whatever text lies between; what is left is no whole string.
_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
# The same, up to a comma as well.
_TO_END: Final = re.compile(rb'(?:[^",\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([,\[\]{}])', re.DOTALL)
_BETWEEN: Final = re.compile(rb"[ \t\r\n\x1a,]*+")
_OPENING: Final = b"[{"
_NEXT: Final = re.compile(rb"[ \t]*+(?:\{|,\s*+\{)")
_MOST_DEPTH: Final = 6
_SAMPLE: Final = 4096
_LONGEST: Final = 2  # times the longest call, of a string without end


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls begin, in bytes of the text without its mark; `path` leads to their array.
    `in_array`: they end with it; else with the file.
    """

    start: int
    path: tuple[str, ...]
    in_array: bool


def find_calls(head: bytes, known: Collection[str]) -> Place | None:
    """The calls of a document by its beginning; None for JSON Lines.

    `known` are keys of a call: what has one is a call, and no document.
    """
    at = _space(head, 0)
    if head[at : at + 1] == b"[":
        return Place(at + 1, (), in_array=True)
    line_end = head.find(b"\n", at)
    first = head[at : line_end if line_end >= 0 else len(head)]
    rest = head[line_end:].strip() if line_end >= 0 else b""
    whole = _is_json(first)
    if whole and rest:
        return None
    place = _in_object(head, at, (), set(known))
    if place is not None or whole:
        return place
    if rest[:1] in (b'"', b"}") or _another_follows(head, at):
        return Place(at, (), in_array=False)  # it goes on in its second line, or ends within one
    return None


def _another_follows(head: bytes, at: int) -> bool:
    """Whether the object at `at` is followed by another one in its line, or by a comma."""
    end = _end_of_value(head, at)
    match = _NEXT.match(head, end) if end is not None else None
    return match is not None


def _in_object(head: bytes, at: int, path: tuple[str, ...], known: set[str]) -> Place | None:
    """The first array of objects in the object at `at`."""
    at = _space(head, at + 1)
    while match := _STRING.match(head, at):
        try:
            key = str(json.loads(match[0]))
        except ValueError:
            return None
        at = _space(head, match.end())
        if key in known or head[at : at + 1] != b":":
            return None
        at = _space(head, at + 1)
        if head[at : at + 1] == b"[":
            if head[_space(head, at + 1) :][:1] == b"{":
                return Place(at + 1, (*path, key), in_array=True)
        elif head[at : at + 1] == b"{" and len(path) < _MOST_DEPTH:
            place = _in_object(head, at, (*path, key), known)
            if place is not None:
                return place
        end = _end_of_value(head, at)
        if end is None:
            return None
        at = _space(head, end)
        if head[at : at + 1] == b",":
            at = _space(head, at + 1)
    return None


def document_events(
    stream: Bytes, place: Place, block_bytes: int, max_call_bytes: int
) -> Iterator[Event]:
    """Its calls as lines: line ends in them become CR, which JSON passes over as well.

    `stream` is UTF-8 and begins at `place`. A call over the limit is passed over; a document that
    ends within its array is cut there.
    """
    cutter = _Cutter(stream, max_call_bytes, in_array=place.in_array, alone=bool(place.path))
    calls: list[bytes] = []
    size, first = 0, 1
    for number, (start, length) in enumerate(cutter.calls(), 1):
        if length > max_call_bytes:
            if calls:
                yield Block(first, b"\n".join(calls), stream.position)
            calls, size, first = [], 0, number + 1
            yield LongLine(number, length, start[:_SAMPLE], stream.position)
            continue
        calls.append(start.replace(b"\n", b"\r"))
        size += length
        if size >= block_bytes:
            yield Block(first, b"\n".join(calls), stream.position)
            calls, size, first = [], 0, number + 1
    if calls:
        yield Block(first, b"\n".join(calls), stream.position)
    if cutter.is_cut:
        yield Cut(first + len(calls), cutter.left[:_SAMPLE], stream.position)


class _Cutter:
    """Cuts a stream into values, which commas or blanks part. What follows an array that stands `alone`,
    in an object, is no value.
    """

    def __init__(self, stream: Bytes, limit: int, *, in_array: bool, alone: bool) -> None:
        self._stream = stream
        self._limit = limit
        self._in_array = in_array
        self._arrays = in_array and not alone
        self._buffer = b""
        self._at = 0  # where in the buffer the next value begins
        self.is_cut = False

    @property
    def left(self) -> bytes:
        """What the file ends with that is no whole value."""
        return self._buffer[self._at :]

    def calls(self) -> Iterator[tuple[bytes, int]]:
        """Each value and its size; of one that is too long only the beginning."""
        while True:
            between = _BETWEEN.match(self._buffer, self._at)
            self._at = between.end() if between else self._at
            if self._at == len(self._buffer):
                if not self._more():
                    self.is_cut = self._in_array or self._stream.damaged
                    return
            elif self._in_array and self._buffer.startswith(b"]", self._at):
                if not self._arrays:
                    return
                self._in_array = False
                self._at += 1
            elif self._arrays and not self._in_array and self._buffer.startswith(b"[", self._at):
                self._in_array = True
                self._at += 1
            elif (value := self._value()) is None:
                self.is_cut = True
                return
            else:
                yield value

    def _value(self) -> tuple[bytes, int] | None:
        """The value that begins here; None where the file ends in it, or one of its texts never."""
        depth, scan = 0, self._at
        start, dropped = b"", 0
        while True:
            match = (_TO_BRACKET if depth else _TO_END).match(self._buffer, scan)
            if match is None:
                if scan - self._at > self._limit:
                    start = start or self._buffer[self._at : self._at + _SAMPLE]
                    dropped += scan - self._at
                    self._at = scan
                scan -= self._at
                if len(self._buffer) - self._at > _LONGEST * self._limit or not self._more():
                    return None if depth or self._in_array else self._rest()
                continue
            scan = match.end()
            if match[1] in _OPENING:
                depth += 1
                continue
            if depth:
                depth -= 1
            elif match[1] == b"," or self._in_array:
                scan -= 1
            if not depth:
                value, size = self._buffer[self._at : scan], dropped + scan - self._at
                self._at = scan
                return start or value, size

    def _rest(self) -> tuple[bytes, int] | None:
        rest = self.left.strip()
        self._at = len(self._buffer)
        return (rest, len(rest)) if rest and len(rest) <= self._limit else None

    def _more(self) -> bool:
        """Read on; what lies before `_at` is let go."""
        chunk = self._stream.read()
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _end_of_value(head: bytes, at: int) -> int | None:
    """Where the value at `at` ends, if that can be seen."""
    if head[at : at + 1] not in (b"[", b"{"):
        match = _STRING.match(head, at) or _SCALAR.match(head, at)
        return match.end() if match else None
    depth = 0
    while match := _TO_BRACKET.match(head, at):
        at = match.end()
        depth += 1 if match[1] in _OPENING else -1
        if depth == 0:
            return at
    return None


def _space(head: bytes, at: int) -> int:
    match = _SPACE.match(head, at)
    return match.end() if match else at
