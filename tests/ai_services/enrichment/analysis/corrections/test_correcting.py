"""What a person decides of a call holds, whatever analysers say before and after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.corrections import correcting
from ai_services.enrichment.analysis.corrections.correcting import Wish
from ai_services.enrichment.analysis.corrections.store import Correction
from ai_services.enrichment.analysis.local import Analysis, Turn
from ai_services.enrichment.analysis.pending import analyse_pending
from ai_services.portrait.counting.count import catch_up
from shared.audit import trail
from shared.data_access.relational.postgres import Postgres
from shared.errors import Conflict, InvalidInput, NotFound
from tests.ai_services.enrichment.customers.conftest import House, house, other
from tests.ai_services.enrichment.records import record
from tests.ai_services.enrichment.test_events import LISTENED, heard

__all__ = ["house", "other"]  # fixtures


class Analyst:
    """Says what it is told to."""

    name = "analyst/1"

    def __init__(self, *facts: Any) -> None:
        self.facts = facts or ("negative", 0.1, "high", "medium")

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        return [Analysis(*self.facts, "heard so", self.name) for _ in transcripts]


async def analysed(house: House, *facts: Any) -> None:
    await analyse_pending(house.db, house.org_id, Analyst(*facts), first=FirstLook())


async def bring(house: House, callid: str = "a", text: str = "差", **fields: Any) -> None:
    turns = [{"role": "customer", "at_ms": 0, "text": text}]
    await house.send(record(callid, turns=turns, **fields))


async def correct(house: House, callid: str = "a", **facts: Any) -> Correction:
    reason, version = facts.pop("reason", None), facts.pop("version", None)
    wish = Wish(facts, reason, version)
    return await correcting.correct(house.db, house.org_id, callid, wish, actor="user:ann")


async def withdraw(house: House, callid: str = "a", **how: Any) -> Correction:
    return await correcting.withdraw(house.db, house.org_id, callid, actor="user:bob", **how)


async def facts(house: House, callid: str = "a") -> dict[str, Any]:
    (row,) = await house.rows(
        """SELECT c.sentiment, c.sentiment_score, c.complaint_risk, c.churn_risk, c.reason,
                  c.analyzer, i.step, i.topic, i.summary, i.resolution
           FROM call_record_enriched c LEFT JOIN call_insight i USING (org_id, callid)
           WHERE callid = $1""",
        callid,
    )
    return row


async def test_a_correction_holds_and_the_rest_is_the_analysers(house: House) -> None:
    await bring(house)
    await analysed(house)
    await correct(house, complaint_risk="low", topic="退款", reason="a joke")
    now = await facts(house)
    assert (now["complaint_risk"], now["topic"], now["reason"]) == ("low", "退款", "a joke")
    assert (now["sentiment"], now["churn_risk"]) == ("negative", "medium")
    assert (now["analyzer"], now["step"]) == (Analyst.name, "local")


async def test_it_survives_another_transcript_and_another_analysis(house: House) -> None:
    await bring(house)
    await analysed(house)
    await correct(house, sentiment="positive", summary="all is well")
    await bring(house, text="other words")
    now = await facts(house)
    assert (now["sentiment"], now["summary"], now["churn_risk"]) == (
        "positive",
        "all is well",
        None,
    )
    assert (now["analyzer"], now["step"]) == (None, "person")
    await analysed(house, "neutral", 0.5, "medium", "low")
    now = await facts(house)
    assert (now["sentiment"], now["sentiment_score"]) == ("positive", 0.8)
    assert (now["complaint_risk"], now["step"]) == ("medium", "local")
    await withdraw(house)
    now = await facts(house)
    assert (now["sentiment"], now["sentiment_score"], now["summary"]) == ("neutral", 0.5, None)


async def test_a_call_that_nobody_has_analysed_can_be_corrected(house: House) -> None:
    await house.send(record("mute"))
    await correct(house, "mute", churn_risk="high", resolution="resolved")
    now = await facts(house, "mute")
    assert (now["churn_risk"], now["resolution"], now["step"]) == ("high", "resolved", "person")
    await withdraw(house, "mute")
    now = await facts(house, "mute")
    assert (now["churn_risk"], now["step"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "sentiment", "score"),
    [
        ({"sentiment": "positive"}, "positive", 0.8),
        ({"sentiment": "negative"}, "negative", 0.1),
        ({"sentiment_score": 0.6}, "positive", 0.6),
        ({"sentiment_score": 0.41}, "neutral", 0.41),
        ({"sentiment": "neutral", "sentiment_score": 0.5}, "neutral", 0.5),
    ],
    ids=["word", "word that fits the score", "score", "neutral score", "both"],
)
async def test_a_sentiment_and_its_score_say_the_same(
    house: House, given: dict[str, Any], sentiment: str, score: float
) -> None:
    await bring(house)
    await analysed(house)
    await correct(house, **given)
    now = await facts(house)
    assert (now["sentiment"], now["sentiment_score"]) == (sentiment, score)
    with pytest.raises(InvalidInput, match="sentiment_score"):
        await correct(house, sentiment="positive", sentiment_score=0.3)
    await withdraw(house, facts=["sentiment"])
    now = await facts(house)
    assert (now["sentiment"], now["sentiment_score"]) == ("negative", 0.1)


async def test_whatever_happens_what_holds_is_the_correction_over_the_analysis(
    house: House,
) -> None:
    """A law: of every order of bringing in, analysing, correcting and withdrawing."""
    chance = random.Random(20)
    risks = ("low", "medium", "high")
    said: dict[str, Any] = {"complaint_risk": None, "churn_risk": None}
    decided: dict[str, Any] = {}
    await bring(house, text="0")
    for step in range(1, 16):
        match chance.choice(["bring", "analyse", "correct", "withdraw"]):
            case "bring":
                await bring(house, text=str(step))
                said = dict.fromkeys(said)
            case "analyse" if said["churn_risk"] is None:
                said = {fact: chance.choice(risks) for fact in said}
                await analysed(house, "neutral", 0.5, said["complaint_risk"], said["churn_risk"])
            case "correct":
                new = {chance.choice([*said]): chance.choice(risks)}
                decided |= new
                await correct(house, **new)
            case "withdraw":
                fact = chance.choice([*said])
                decided.pop(fact, None)
                await withdraw(house, facts=[fact])
        now = await facts(house)
        assert {fact: now[fact] for fact in said} == said | decided, step


async def test_every_change_is_in_the_history_and_in_the_audit_log(house: House) -> None:
    await bring(house)
    await analysed(house)
    await correct(house, churn_risk="high", reason="said 13812348000")
    same = await correct(house, churn_risk="high")
    assert same.version == 1
    await correct(house, churn_risk="low", topic="other")
    await withdraw(house, facts=["topic"])
    now, page = await correcting.history(house.db, house.org_id, "a", cursor=None, limit=2)
    assert dict(now.facts) == {"churn_risk": "low", "reason": "said 13812348000"}
    assert [(one.version, one.kind, one.actor) for one in page.items] == [
        (3, "withdrawn", "user:bob"),
        (2, "corrected", "user:ann"),
    ]
    second = page.items[1]
    assert (second.before, second.after) == (
        {"churn_risk": "high", "topic": None},
        {"churn_risk": "low", "topic": "other"},
    )
    _, rest = await correcting.history(
        house.db, house.org_id, "a", cursor=page.next_cursor, limit=2
    )
    assert [(one.version, one.reason) for one in rest.items] == [(1, "said 13812348000")]
    logged = (await trail.list_entries(house.db, house.org_id, limit=9, cursor=None)).items
    assert [one.action for one in logged] == [
        "analysis.withdrawn", "analysis.corrected", "analysis.corrected",
    ]  # fmt: skip
    assert logged[1].target == f"correction:{second.correction_id}"
    assert logged[1].details == {"facts": ["churn_risk", "topic"], "version": 2}


async def test_of_two_at_once_the_last_holds_and_nothing_is_lost(house: House) -> None:
    await bring(house)
    await analysed(house)
    await asyncio.gather(
        *(correct(house, summary=f"person {n}") for n in range(8)), analysed(house)
    )
    now, page = await correcting.history(house.db, house.org_id, "a", cursor=None, limit=9)
    assert [one.version for one in page.items] == list(range(8, 0, -1))
    befores = [one.before["summary"] for one in page.items]
    assert befores == [one.after["summary"] for one in page.items[1:]] + [None]
    assert (await facts(house))["summary"] == now.facts["summary"]


async def test_who_knows_an_older_version_is_told_so(house: House) -> None:
    await bring(house)
    await correct(house, churn_risk="high", version=0)
    with pytest.raises(Conflict, match="version 1"):
        await correct(house, churn_risk="low", version=0)
    with pytest.raises(Conflict):
        await withdraw(house, version=2)
    assert (await withdraw(house, version=1)).version == 2


async def test_portraits_count_what_holds_and_others_are_told(
    database_url: str, house: House
) -> None:
    await bring(house, started_at="2024-12-04T09:30:00+08:00")
    await analysed(house)
    db = Postgres(database_url, pool_size=1, topics=LISTENED)
    wish = Wish({"sentiment": "positive", "churn_risk": "high"})
    await correcting.correct(db, house.org_id, "a", wish, actor="user:ann")
    assert [told for told in await heard(db) if told[0] == "analyses"] == [
        ("analyses", {"callids": ["a"]})
    ]
    await db.close()
    await catch_up(lambda: house.db.tenant(house.org_id), house.org_id)
    (portrait,) = await house.rows(
        "SELECT * FROM user_portrait_snapshot WHERE period_key = '2024-W49'"
    )
    assert (portrait["positive_count"], portrait["negative_count"]) == (1, 0)
    assert (portrait["high_churn_risk"], portrait["high_complaint_risk"]) == (1, 1)


async def test_it_is_erased_with_its_call_and_with_its_customer(house: House) -> None:
    for callid in ("a", "b"):
        await bring(house, callid, customer_id="hers")
        await correct(house, callid, summary="Mrs Rosamund Quill", reason="Rosamund told me")
        await correct(house, callid, summary="Rosamund again")
    await house.erase_call("a")
    assert len(await house.rows("SELECT * FROM call_correction")) == 1
    await house.erase("hers")
    for table in ("call_correction", "call_correction_entry"):
        assert await house.rows(f"SELECT * FROM {table}") == []
    assert "Rosamund" not in await house.everything()


async def test_topics_are_those_of_the_organisation(house: House) -> None:
    await bring(house)
    await correct(house, topic="whatever")
    await house.rows(
        "INSERT INTO analysis_setting (org_id, topics) VALUES ($1, '{退款}') RETURNING 1",
        house.org_id,
    )
    for topic in ("退款", "other"):
        await correct(house, topic=topic)
    with pytest.raises(InvalidInput, match="topic"):
        await correct(house, topic="whatever")
    wish = Wish({"topic": "card_arrival"})
    await correcting.correct(
        house.db, house.org_id, "a", wish, actor="user:ann", labels={"card_arrival"}
    )


async def test_another_organisations_call_is_none(house: House, other: House) -> None:
    await bring(house)
    for act in (correct(other, churn_risk="low"), withdraw(other), correct(house, "b", topic="x")):
        with pytest.raises(NotFound):
            await act
    with pytest.raises(NotFound):
        await correcting.history(other.db, other.org_id, "a", cursor=None, limit=1)
    assert (await facts(house))["churn_risk"] is None
