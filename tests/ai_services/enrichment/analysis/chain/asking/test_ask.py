"""What a model answers is kept whatever comes after, and what it can't answer in time is found."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain import opening
from ai_services.enrichment.analysis.chain.asking.ask import Asking, Dead, Found, ModelsAway
from ai_services.enrichment.analysis.chain.asking.fence import fence_key
from ai_services.enrichment.analysis.chain.asking.pace import Pace
from ai_services.enrichment.analysis.chain.asking.packing import Pack
from ai_services.enrichment.analysis.chain.asking.verdict import Verdict
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.rules import Requests
from ai_services.enrichment.analysis.chain.transcript import basis_of, items_of, normalised
from ai_services.enrichment.analysis.local import Turn
from benchmarks.call_judge import judge
from shared.llm.client import LanguageModels
from shared.llm.prompts import read_prompt
from tests.shared.llm.models import Models, said

ORG = UUID(int=1)
PROMPT = read_prompt(opening.PROMPTS, *opening.PROMPT)
LATE = (504, {"message": "too slow", "code": "upstream_timeout"}, {})
NO_MONEY = (402, {"message": "no money", "code": "budget_exceeded"}, {})


@pytest.fixture
def asks(asking: LanguageModels) -> Asking:
    requests = Requests(tries=1)
    pace = Pace(requests.at_once, 1_000_000, None)
    metrics = ChainMetrics(CollectorRegistry())
    return Asking(
        asking, "judge", "llm:judge", PROMPT, fence_key(b"k" * 32), requests, pace, metrics
    )


def pack(*texts: str) -> Pack:
    basis = basis_of("m", ())
    said_of = (normalised([Turn("customer", None, text)]) for text in texts)
    return Pack(tuple(item for said in said_of for item in items_of(said, basis, 1000)))


def garbled(body: dict[str, Any]) -> bool:
    return "garble" in str(body["messages"])


async def test_what_was_answered_is_kept_when_no_model_can_be_asked_any_more(
    asks: Asking, models: Models
) -> None:
    models.judge = lambda body: said(judge(body, "omits")) if len(models.asked) == 1 else NO_MONEY
    found: Found = {}
    several = pack("one", "two", "three")
    with pytest.raises(ModelsAway) as caught:
        await asks.ask(ORG, several, (), found)
    assert caught.value.outcome == "budget"
    assert list(found) == several.digests[:2]


async def test_a_half_that_is_answered_is_kept_when_the_other_finds_no_money(
    asks: Asking, models: Models
) -> None:
    models.judge = lambda body: (
        said("no json")
        if len(models.asked) <= 2
        else NO_MONEY
        if garbled(body)
        else said(judge(body, "honest"))
    )
    found: Found = {}
    several = pack("garble", "one", "two", "three")
    with pytest.raises(ModelsAway):
        await asks.ask(ORG, several, (), found)
    assert set(found) == set(several.digests[2:])


async def test_a_transcript_that_takes_too_long_is_found_by_halves_and_given_up(
    asks: Asking, models: Models
) -> None:
    models.judge = lambda body: LATE if garbled(body) else said(judge(body, "honest"))
    found: Found = {}
    several = pack("one", "two", "three", "garble", "four", "five", "six", "seven")
    await asks.ask(ORG, several, (), found)
    slow = found.pop(several.digests[3])
    assert isinstance(slow, Dead)
    assert slow.reason == "timeout"
    assert len(found) == 7
    assert all(isinstance(one, Verdict) for one in found.values())
    assert len(models.asked) == 1 + 2 + 2 + 2


async def test_a_model_that_answers_nobody_is_away(asks: Asking, models: Models) -> None:
    models.judge = lambda _: LATE
    found: Found = {}
    with pytest.raises(ModelsAway) as caught:
        await asks.ask(ORG, pack("one", "two"), (), found)
    assert caught.value.outcome == "timeout"
    assert found == {}


async def test_one_that_is_too_slow_alone_is_not_asked_about_for_ever(
    asks: Asking, models: Models
) -> None:
    models.judge = lambda _: LATE
    found: Found = {}
    for _ in range(2):
        with pytest.raises(ModelsAway):
            await asks.ask(ORG, pack("one"), (), found)
    await asks.ask(ORG, pack("one"), (), found)
    assert [one.reason for one in found.values() if isinstance(one, Dead)] == ["timeout"]


async def test_what_no_database_takes_is_in_no_verdict_and_no_dead_letter(
    asks: Asking, models: Models
) -> None:
    models.judge = lambda body: said(judge(body, "nulls"))
    found: Found = {}
    several = pack("one", "garble", "two", "three")
    await asks.ask(ORG, several, (), found)
    assert isinstance(found[several.digests[1]], Dead)
    assert "\0" not in repr(found).encode().decode("unicode_escape")
    verdict = found[several.digests[0]]
    assert isinstance(verdict, Verdict)
    assert (verdict.summary, verdict.callbacks[0].days) == ("a b", None)
