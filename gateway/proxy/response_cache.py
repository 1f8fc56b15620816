"""The response cache of routes with `cache = "30s"`: per caller, in this process's memory.

A private cache after RFC 9111: GET and 200 only, at most 256 KiB each, a bounded number of bytes
in all, the least recently used going first. An answer is good for its route's time and until the
same organisation changes anything in the same service through this gateway; other gateways' changes
show when the time is over. What a service marks no-store or no-cache, encodes, or varies by more
than the encoding is never kept.

An answer of the platform's own form is sent with the id of the request that it answers now. Its ETag
is over the data alone, that of the service if it gave one: the same data have the same tag whether
they were kept or asked for anew.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry

from gateway.http.stored_answer import KEPT_BODY_LIMIT, Lines, StoredAnswer
from shared.security import Principal
from shared.serving.entity_tag import is_tag, matches, weak_tag
from shared.telemetry.metrics import Counter, Gauge

SIZE: Final = 64 << 20
_CHANGES: Final = 10_000
_ENTRY_BYTES: Final = 1024  # what an entry takes beside its body, roughly
_NEVER: Final = float("-inf")
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})")
_OWN: Final = frozenset({b"etag", b"cache-control", b"age", b"expires", b"last-modified", b"date"})
_FRESH: Final = ("no-cache", "no-store", "max-age=0")
_RESULTS: Final = ("hit", "not_modified", "miss")


@dataclass(frozen=True, slots=True)
class Question:
    """The key of a request in the cache, and when it was asked; `life` in seconds."""

    service: str
    org_id: UUID
    caller: str
    target: str
    life: float
    asked_at: float


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: StoredAnswer  # with ETag and Cache-Control
    tag: str
    asked_at: float
    kept_at: float
    until: float
    size: int


class ResponseCache:
    """`question`, then `find`; what was not found is fetched and given to `keep`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        size: int = SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[tuple[str, UUID, str, str], _Entry] = OrderedDict()
        self._bytes = 0
        # When an organisation last changed something in a service; changes that were forgotten
        # to keep this bounded count as everybody's.
        self._changed: OrderedDict[tuple[UUID, str], float] = OrderedDict()
        self._forgotten = _NEVER
        asked = Counter(
            "response_cache_requests", "GETs of cached routes", ("result",), registry=registry
        )
        self._asked = {result: asked.labels(result) for result in _RESULTS}
        self._held = Gauge("response_cache_bytes", "Held by kept answers", registry=registry)

    def question(
        self, service: str, principal: Principal, path: str, query: str, life: float
    ) -> Question:
        """What `find` and `keep` take; `path` as normalised, `query` with its '?' or empty."""
        caller = f"{principal.kind} {principal.subject} {principal.role}"
        target = path + _sorted(query)
        return Question(service, principal.org_id, caller, target, life, self._clock())

    def find(
        self, question: Question, if_none_match: str, cache_control: str, request_id: str
    ) -> StoredAnswer | None:
        """The kept answer: 200, or 304 if the client has it. None: ask the service.

        `if_none_match` and `cache_control` are the request's headers, '' without.
        """
        entry = None
        if not _wants_fresh(cache_control):
            entry = self._entry(question)
        if entry is None:
            self._asked["miss"].inc()
            return None
        kept = entry.answer
        age = (b"age", b"%d" % (self._clock() - entry.kept_at))
        headers = (*kept.headers, age)
        if matches(if_none_match, entry.tag):
            self._asked["not_modified"].inc()
            return _not_modified(headers)
        self._asked["hit"].inc()
        return StoredAnswer(kept.status, headers, kept.body, kept.request_id).answering(request_id)

    def keep(self, question: Question, answer: StoredAnswer, if_none_match: str) -> StoredAnswer:
        """What to send for a service's answer: kept and tagged if it may be, else as it is."""
        head_allows = may_keep(answer.status, answer.headers, len(answer.body))
        life = min(question.life, _max_age(answer))
        if not head_allows or life <= 0:
            return answer
        tag = _tag_of(answer)
        headers = (
            *(line for line in answer.headers if line[0] not in _OWN),
            (b"etag", tag.encode()),
            (b"cache-control", b"private, max-age=%d" % life),
        )
        kept = StoredAnswer(200, headers, answer.body, answer.request_id)
        if not self._outdated(question, question.asked_at):
            self._put(question, kept, tag, life)
        return _not_modified(headers) if matches(if_none_match, tag) else kept

    def changed(self, org_id: UUID, service: str) -> None:
        """Drop what is kept of a service's answers to an organisation.

        Called after whatever is not a GET, unless it was refused: it may have changed something.
        """
        at = (org_id, service)
        self._changed[at] = self._clock()
        self._changed.move_to_end(at)
        if len(self._changed) > _CHANGES:
            _, forgotten = self._changed.popitem(last=False)
            self._forgotten = max(self._forgotten, forgotten)

    def __len__(self) -> int:
        return len(self._entries)

    def _outdated(self, question: Question, asked_at: float) -> bool:
        """Whether what was asked for at `asked_at` may be older than a change."""
        change = self._changed.get((question.org_id, question.service), _NEVER)
        return asked_at <= max(change, self._forgotten)

    def _entry(self, question: Question) -> _Entry | None:
        at = _place(question)
        entry = self._entries.get(at)
        if entry is None:
            return None
        if entry.until <= self._clock() or self._outdated(question, entry.asked_at):
            self._drop(at)
            return None
        self._entries.move_to_end(at)
        return entry

    def _put(self, question: Question, answer: StoredAnswer, tag: str, life: float) -> None:
        at, now = _place(question), self._clock()
        self._drop(at)
        size = len(answer.body) + len(question.target) + _ENTRY_BYTES
        if size > self._size:
            return
        self._entries[at] = _Entry(answer, tag, question.asked_at, now, now + life, size)
        self._bytes += size
        # What is over and never asked for again would stay until the cache is full. To look at the
        # two that were used least lately, whenever one comes, keeps up with that.
        for _ in range(2):
            oldest = next(iter(self._entries))
            if self._entries[oldest].until > now:
                break
            self._drop(oldest)
        while self._bytes > self._size:
            self._drop(next(iter(self._entries)))
        self._held.set(self._bytes)

    def _drop(self, at: tuple[str, UUID, str, str]) -> None:
        entry = self._entries.pop(at, None)
        if entry is not None:
            self._bytes -= entry.size
            self._held.set(self._bytes)


def may_keep(status: int, headers: Iterable[tuple[bytes, bytes]], length: int | None) -> bool:
    """Whether an answer with this head is worth collecting; `length` None if it isn't announced."""
    if status != 200 or (length or 0) > KEPT_BODY_LIMIT:
        return False
    head = StoredAnswer(status, tuple(headers), b"")
    if head.header(b"content-encoding") or head.directives() & {"no-store", "no-cache"}:
        return False
    if head.header(b"content-type").startswith("text/event-stream"):
        return False
    varying = {name.strip().lower() for name in head.header(b"vary").split(",")}
    return varying <= {"", "accept-encoding", "origin"}


def _place(question: Question) -> tuple[str, UUID, str, str]:
    return question.service, question.org_id, question.caller, question.target


def _sorted(query: str) -> str:
    """Parameters in the order of their names; those of one name stay in theirs."""
    parameters = [part for part in query[1:].split("&") if part]
    return "?" + "&".join(sorted(parameters, key=lambda part: part.partition("=")[0]))


def _wants_fresh(cache_control: str) -> bool:
    directives = {part.strip() for part in cache_control.lower().split(",")}
    return not directives.isdisjoint(_FRESH)


def _max_age(answer: StoredAnswer) -> float:
    match = _MAX_AGE.search(answer.header(b"cache-control").lower())
    return float(match[1]) if match else float("inf")


def _tag_of(answer: StoredAnswer) -> str:
    given = answer.header(b"etag")
    return given if is_tag(given) else weak_tag(answer.data)


def _not_modified(headers: Lines) -> StoredAnswer:
    kept = (line for line in headers if not line[0].startswith(b"content-"))
    return StoredAnswer(304, tuple(kept), b"")
