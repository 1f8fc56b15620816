"""What is kept, for whom, for how long, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.http.stored_answer import KEPT_BODY_LIMIT, StoredAnswer
from gateway.proxy.response_cache import ResponseCache, may_keep
from shared.security import Principal
from shared.serving.entity_tag import weak_tag

ORG, OTHER = UUID(int=1), UUID(int=2)
MINE = str(UUID(int=3))
ALICE = Principal(ORG, "user:a", "analyst", "user", "one-session")
JSON = ((b"content-type", b"application/json"),)
ANSWER = StoredAnswer(200, JSON, b'{"code":0}')


@dataclass
class Kept:
    """A cache with a clock that stands still until it is moved."""

    size: int = 1 << 20
    now: float = 100.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.cache = ResponseCache(self.registry, size=self.size, clock=lambda: self.now)

    def get(
        self,
        path: str = "/x",
        query: str = "",
        *,
        principal: Principal = ALICE,
        service: str = "portrait",
        answer: StoredAnswer = ANSWER,
        if_none_match: str = "",
        cache_control: str = "",
    ) -> tuple[StoredAnswer, bool]:
        """(what the client gets, whether it came from the cache)."""
        question = self.cache.question(service, principal, path, query, 30.0)
        found = self.cache.find(question, if_none_match, cache_control, MINE)
        if found is not None:
            return found, True
        self.now += 0.1
        return self.cache.keep(question, answer, if_none_match), False

    def hit(self, path: str = "/x", query: str = "", **more: object) -> bool:
        return self.get(path, query, **more)[1]  # type: ignore[arg-type]  # passed on

    def counted(self, result: str) -> float:
        return self.registry.get_sample_value("response_cache_requests_total", {"result": result}) or 0  # fmt: skip


def test_an_answer_is_kept_for_its_time() -> None:
    kept = Kept()
    first, _ = kept.get()
    assert first.body == ANSWER.body
    assert first.header(b"cache-control") == "private, max-age=30"
    assert first.header(b"etag") == weak_tag(ANSWER.body)
    kept.now += 12
    again, from_cache = kept.get(answer=StoredAnswer(200, JSON, b"newer"))
    assert from_cache
    assert (again.body, again.header(b"age")) == (ANSWER.body, "12")
    assert again.header(b"etag") == first.header(b"etag")
    kept.now += 18
    assert not kept.hit()
    assert (kept.counted("hit"), kept.counted("miss")) == (1, 2)


def test_a_client_that_has_it_is_told_so() -> None:
    kept = Kept()
    tag = kept.get()[0].header(b"etag")
    for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer, from_cache = kept.get(if_none_match=asked)
        assert (answer.status, answer.body, from_cache) == (304, b"", True)
        assert answer.header(b"etag") == tag
        assert not answer.header(b"content-type")
    assert kept.get(if_none_match='"other"')[0].status == 200
    assert kept.counted("not_modified") == 4
    kept.now += 60
    assert kept.get(if_none_match=tag) == (  # asked anew, and the same as before
        StoredAnswer(304, (), b"").of(304, [(b"etag", tag.encode()), (b"cache-control", b"private, max-age=30")], b""),
        False,
    )  # fmt: skip


def test_every_caller_and_service_has_its_own() -> None:
    kept = Kept()
    kept.get()
    assert not kept.hit(principal=Principal(OTHER, "user:a", "analyst", "user"))
    assert not kept.hit(principal=Principal(ORG, "user:b", "analyst", "user"))
    assert not kept.hit(principal=Principal(ORG, "user:a", "agent", "user"))
    assert not kept.hit(service="enrichment")
    assert not kept.hit("/y")
    assert kept.hit(principal=Principal(ORG, "user:a", "analyst", "user", "another-session"))


def test_the_order_of_parameters_is_nothing_the_order_of_values_is_much() -> None:
    kept = Kept()
    kept.get(query="?b=2&a=1&b=1")
    assert kept.hit(query="?a=1&b=2&b=1")
    assert kept.hit(query="?&b=2&b=1&a=1&")
    assert not kept.hit(query="?a=1&b=1&b=2")
    assert not kept.hit(query="?a=1")
    kept.get(query="?")
    assert kept.hit(query="")


@given(st.lists(st.sampled_from(["a=1", "a=2", "b", "b=", "c=%20"]), max_size=6), st.randoms())
def test_any_order_of_different_names_is_one_question(parts: list[str], chance: object) -> None:
    kept = Kept()
    names = {part.partition("=")[0]: part for part in parts}
    shuffled = list(names.values())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    kept.get(query="?" + "&".join(names.values()))
    assert kept.hit(query="?" + "&".join(shuffled))


@pytest.mark.parametrize("asked", ["no-cache", "No-Store", "max-age=0", "private, no-cache"])
def test_a_client_may_want_it_fresh(asked: str) -> None:
    kept = Kept()
    kept.get()
    assert not kept.hit(cache_control=asked, answer=StoredAnswer(200, JSON, b"newer"))
    assert kept.get()[0].body == b"newer"
    assert kept.hit(cache_control="max-age=60")


@pytest.mark.parametrize(
    "answer",
    [
        StoredAnswer(404, JSON, b"{}"),
        StoredAnswer(206, JSON, b"{}"),
        StoredAnswer(200, (*JSON, (b"cache-control", b"private, No-Store")), b"{}"),
        StoredAnswer(200, (*JSON, (b"cache-control", b"no-cache")), b"{}"),
        StoredAnswer(200, (*JSON, (b"cache-control", b"max-age=0")), b"{}"),
        StoredAnswer(200, (*JSON, (b"vary", b"Accept-Encoding, Accept-Language")), b"{}"),
        StoredAnswer(200, (*JSON, (b"vary", b"*")), b"{}"),
        StoredAnswer(200, (*JSON, (b"content-encoding", b"gzip")), b"{}"),
        StoredAnswer(
            200, ((b"content-type", b"text/event-stream; charset=utf-8"),), b"data: 1\n\n"
        ),
        StoredAnswer(200, JSON, b"x" * (KEPT_BODY_LIMIT + 1)),
    ],
)
def test_what_may_not_be_kept_passes_as_it_is(answer: StoredAnswer) -> None:
    kept = Kept()
    assert kept.get(answer=answer) == (answer, False)
    assert len(kept.cache) == 0


def test_the_head_alone_tells_what_is_not_worth_collecting() -> None:
    assert may_keep(200, JSON, 5)
    assert may_keep(200, JSON, None)
    assert not may_keep(200, JSON, KEPT_BODY_LIMIT + 1)
    assert not may_keep(201, JSON, 5)


def test_a_service_may_shorten_the_time() -> None:
    kept = Kept()
    short = StoredAnswer(200, (*JSON, (b"cache-control", b"private, max-age=5")), b"{}")
    assert kept.get(answer=short)[0].header(b"cache-control") == "private, max-age=5"
    kept.now += 4.8
    assert kept.hit()
    kept.now += 0.3
    assert not kept.hit()
    long = StoredAnswer(200, (*JSON, (b"cache-control", b"max-age=900")), b"{}")
    assert kept.get("/y", answer=long)[0].header(b"cache-control") == "private, max-age=30"


def test_a_change_ends_what_the_organisation_asked_of_that_service() -> None:
    kept = Kept()
    bob = Principal(ORG, "user:b", "analyst", "user")
    stranger = Principal(OTHER, "user:c", "analyst", "user")
    kept.get()
    kept.get(principal=bob)
    kept.get(principal=stranger)
    kept.get(service="enrichment")
    kept.now += 1
    kept.cache.changed(ORG, "portrait")
    kept.now += 1
    assert kept.hit(principal=stranger)
    assert kept.hit(service="enrichment")
    assert not kept.hit()
    assert not kept.hit(principal=bob)
    assert kept.hit()


def test_what_was_asked_for_before_a_change_is_not_kept_after_it() -> None:
    kept = Kept()
    question = kept.cache.question("portrait", ALICE, "/x", "", 30.0)
    assert kept.cache.find(question, "", "", MINE) is None
    kept.now += 0.05
    kept.cache.changed(ORG, "portrait")
    kept.now += 0.05
    assert kept.cache.keep(question, ANSWER, "").body == ANSWER.body
    assert not kept.hit()


def test_forgotten_changes_end_everything_older() -> None:
    kept = Kept()
    kept.get()
    kept.now += 1
    kept.cache.changed(ORG, "portrait")
    kept.now += 1
    kept.get("/y", principal=Principal(OTHER, "user:z", "analyst", "user"))
    for number in range(10_001):
        kept.cache.changed(UUID(int=1000 + number), "portrait")
    assert not kept.hit()


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    kept = Kept(size=300 * 1024)
    body = b"x" * (50 * 1024)
    for number in range(40):
        kept.get(f"/{number}", answer=StoredAnswer(200, JSON, body))
        kept.get("/0", answer=StoredAnswer(200, JSON, body))
        held = kept.registry.get_sample_value("response_cache_bytes")
        assert held is not None
        assert held <= 300 * 1024
    assert len(kept.cache) == 5
    assert kept.hit("/0")
    assert kept.hit("/39")
    assert not kept.hit("/1")
    assert Kept(size=10).hit() is False


def test_what_is_over_makes_room_without_being_asked_for() -> None:
    kept = Kept()
    for number in range(50):
        kept.get(f"/old/{number}")
    assert len(kept.cache) == 50
    kept.now += 31
    for number in range(50):
        kept.get(f"/new/{number}")
    assert len(kept.cache) == 50
    assert not kept.hit("/old/0")
    assert kept.hit("/new/0")
