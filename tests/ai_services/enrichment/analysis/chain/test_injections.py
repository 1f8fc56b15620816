"""Calls that give orders to the model change nothing of what others get, and end no mark."""

from __future__ import annotations

import re
from uuid import UUID

import orjson
import pytest

from ai_services.enrichment.analysis.chain.asking.fence import fence_key, fenced
from ai_services.enrichment.analysis.chain.transcript import basis_of, items_of, normalised
from ai_services.enrichment.analysis.local import Turn
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Bench, spoken
from tests.ai_services.enrichment.analysis.chain.injections import INJECTIONS

SPOKEN = [text.replace("\0", "") for text in INJECTIONS]  # no call comes in with a NUL
KEY = fence_key(b"k" * 32)


@pytest.mark.parametrize("number", range(len(INJECTIONS)))
def test_an_order_stays_between_its_marks(number: int) -> None:
    said = normalised([Turn("customer", None, INJECTIONS[number])])
    items = items_of(said, basis_of("m", ()), 100_000)
    marked = fenced(KEY, UUID(int=1), items)
    first, *lines, last = marked.text.split("\n")
    assert (first, last) == (f"<<<{marked.word} id={marked.ids[0]}>>>", f"<<<{marked.word} end>>>")
    assert [orjson.loads(line)["said"] for line in lines] == [one.text for one in said]
    assert not re.search("[<\u2028\u2029\u202e\u2066\x00\x1b]", "".join(lines))


async def test_a_model_that_obeys_is_held_to_schema_ids_topics_and_quotes(bench: Bench) -> None:
    bench.behave("obeys")
    orders = [spoken(f"order-{n:02d}", text, COMPLAINS) for n, text in enumerate(SPOKEN)]
    await bench.bring(*orders)
    await bench.first_look()
    assert (await bench.by_models()).saved == len(SPOKEN)
    calls = await bench.calls()
    assert set(calls) == {one["callid"] for one in orders}
    for call in calls.values():
        assert call["topic"] in ("other", None)
        assert len(call["summary"]) <= 500
        for quote in call["evidence"]:
            assert quote["text"] in (SPOKEN[int(call["callid"][-2:])], COMPLAINS)
    assert bench.metric("analysis_quotes_dropped_total") > 0


async def test_a_model_that_keeps_to_its_instructions_judges_each_by_its_words(
    bench: Bench,
) -> None:
    orders = [spoken(f"order-{n:02d}", text, COMPLAINS) for n, text in enumerate(SPOKEN)]
    await bench.bring(*orders, spoken("calm", "我想问一下订单到哪里了"))
    await bench.first_look()
    await bench.by_models()
    calls = await bench.calls()
    assert {calls[one["callid"]]["sentiment"] for one in orders} == {"negative"}
    assert calls["calm"]["sentiment"] == "neutral"
