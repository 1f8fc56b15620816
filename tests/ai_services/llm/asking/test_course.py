"""Which deployment is asked, and which after a failure."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ai_services.llm.asking.course import Candidate, Course, RetryPolicy
from ai_services.llm.models.catalogue import Deployment, Model
from ai_services.llm.providers.health import Health
from ai_services.llm.providers.outcome import Kind, ProviderFailure
from tests.ai_services.llm.catalogues import catalogue, model, provider

ONE = Deployment(provider(name="one"), "m")
TWO = Deployment(provider(name="two"), "m")
SPARE = Deployment(provider(name="spare"), "other")


def failure(kind: Kind = "unavailable", **fields: object) -> ProviderFailure:
    return ProviderFailure(kind, fields.pop("outcome", "error"), "no", **fields)  # type: ignore[arg-type]


def course(asked: Model, *others: Model, health: Health | None = None, **policy: object) -> Course:
    return Course(
        asked,
        catalogue(asked, *others),
        health or Health(),
        RetryPolicy(**policy),  # type: ignore[arg-type]
        random.Random(7).random,
    )


def names(candidate: Candidate | None) -> str | None:
    return None if candidate is None else candidate.deployment.provider.name


def test_what_may_pass_soon_is_asked_again_after_a_pause() -> None:
    way = course(model("m", ONE))
    way.first()
    again = way.after(failure())
    assert names(again) == "one"
    assert again is not None
    assert 0.125 <= again.wait_s <= 0.25
    assert way.after(failure()) is None  # once


def test_retry_after_is_waited_for_if_it_is_short() -> None:
    way = course(model("m", ONE))
    way.first()
    again = way.after(failure("limited", outcome="rate_limited", retry_after=2.0))
    assert again is not None
    assert again.wait_s == 2.0


def test_a_long_retry_after_sends_the_request_elsewhere() -> None:
    way = course(model("m", ONE, TWO))
    first = names(way.first())
    other = way.after(failure("limited", outcome="rate_limited", retry_after=60.0))
    assert {first, names(other)} == {"one", "two"}
    assert other is not None
    assert other.wait_s == 0.0


@pytest.mark.parametrize("kind", ["quota", "setup", "open"])
def test_what_will_not_pass_soon_is_not_asked_again(kind: Kind) -> None:
    way = course(model("m", ONE, TWO))
    first = names(way.first())
    assert {first, names(way.after(failure(kind)))} == {"one", "two"}
    assert way.after(failure(kind)) is None


def test_nobody_else_is_asked_for_a_request_that_is_wrong() -> None:
    way = course(model("m", ONE, TWO))
    way.first()
    assert way.after(failure("request")) is None


def test_nobody_is_asked_once_an_answer_has_begun() -> None:
    way = course(
        model("m", ONE, TWO, fallbacks=("s",), fallback_on=frozenset({"unavailable"})),
        model("s", SPARE),
    )
    way.first()
    assert way.after(failure(begun=True)) is None


def test_a_timeout_is_not_tried_again_at_the_same_place() -> None:
    way = course(model("m", ONE, TWO))
    first = names(way.first())
    second = names(way.after(failure(outcome="timeout", billed=True)))
    assert {first, second} == {"one", "two"}


@pytest.mark.parametrize(
    ("kind", "on", "falls_back"),
    [
        ("unavailable", "unavailable", True),
        ("quota", "unavailable", True),
        ("context", "context", True),
        ("refused", "refused", True),
        ("context", "unavailable", False),
        ("refused", "context", False),
        ("request", "unavailable", False),
    ],
)
def test_fallbacks_are_for_the_failures_that_the_model_names(
    kind: Kind, on: str, falls_back: bool
) -> None:
    asked = model("m", ONE, fallbacks=("s",), fallback_on=frozenset({on}))
    way = course(asked, model("s", SPARE), retries=0)
    way.first()
    assert names(way.after(failure(kind))) == ("spare" if falls_back else None)


def test_a_chain_of_fallbacks_is_followed_to_its_end_and_no_further() -> None:
    asked = model("m", ONE, fallbacks=("s", "t"), fallback_on=frozenset({"unavailable"}))
    way = course(asked, model("s", SPARE), model("t", TWO), retries=0)
    assert [names(way.first()), names(way.after(failure())), names(way.after(failure()))] == [
        "one", "spare", "two",
    ]  # fmt: skip
    assert way.after(failure()) is None


def test_all_tries_together_are_bounded() -> None:
    many = [Deployment(provider(name=f"p{index}"), "m") for index in range(20)]
    way = course(model("m", *many), retries=1, tries=6)
    candidate, asked = way.first(), 0
    while candidate is not None:
        asked += 1
        candidate = way.after(failure())
    assert asked == 6


def test_deployments_come_first_as_often_as_their_weights_say() -> None:
    heavy = Deployment(provider(name="heavy"), "m", weight=3)
    light = Deployment(provider(name="light"), "m", weight=1)
    asked = model("m", light, heavy)
    chance = random.Random(1).random
    firsts = Counter(
        names(Course(asked, catalogue(asked), Health(), RetryPolicy(), chance).first())
        for _ in range(4000)
    )
    assert 0.72 < firsts["heavy"] / 4000 < 0.78


def test_who_has_an_open_circuit_comes_last() -> None:
    health = Health()
    for _ in range(5):
        health.failed("one", "m")
    assert {names(course(model("m", ONE, TWO), health=health).first()) for _ in range(20)} == {
        "two"
    }


def test_who_is_free_is_asked_before_who_is_waited_for() -> None:
    way = course(model("m", ONE, TWO))
    first = names(way.first())
    other = way.after(failure("limited", outcome="rate_limited", retry_after=1.0))
    assert other is not None
    assert (other.wait_s, {first, names(other)}) == (0.0, {"one", "two"})
