"""Which ends of a try are held against an instance."""

from __future__ import annotations

import asyncio

import pytest

from gateway.resilience.outcome import Outcome, outcome_of_error, outcome_of_status
from shared.errors import (
    MalformedRequest,
    PayloadTooLarge,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([200, 201, 204, 206, 301, 304], Outcome.SUCCESS),
        ([400, 401, 404, 408, 422, 429, 499, 501, 505], Outcome.CLIENT_ERROR),
        ([500, 507, 599], Outcome.SERVER_ERROR),
        ([502, 503, 504], Outcome.GATEWAY_ERROR),
    ],
)
def test_every_status_has_its_outcome(statuses: list[int], outcome: Outcome) -> None:
    assert {outcome_of_status(status) for status in statuses} == {outcome}


def test_who_says_when_to_come_back_is_not_broken() -> None:
    assert outcome_of_status(503, retry_after=True) is Outcome.UNAVAILABLE
    assert outcome_of_status(503) is Outcome.GATEWAY_ERROR
    assert outcome_of_status(500, retry_after=True) is Outcome.SERVER_ERROR
    assert outcome_of_status(429, retry_after=True) is Outcome.CLIENT_ERROR


def test_only_the_upstreams_own_errors_are_held_against_it() -> None:
    for error in (UpstreamError("x"), UpstreamTimeout("x"), UpstreamUnavailable("x")):
        assert outcome_of_error(error) is Outcome.GATEWAY_ERROR
    for other in (
        asyncio.CancelledError(),
        MalformedRequest("x"),
        PayloadTooLarge("x"),
        GeneratorExit(),
    ):
        assert outcome_of_error(other) is Outcome.CANCELLED


def test_an_outcome_is_failed_or_answered_or_says_nothing() -> None:
    assert [one for one in Outcome if one.failed] == [Outcome.SERVER_ERROR, Outcome.GATEWAY_ERROR]
    assert [one for one in Outcome if one.answered] == [Outcome.SUCCESS, Outcome.CLIENT_ERROR]
