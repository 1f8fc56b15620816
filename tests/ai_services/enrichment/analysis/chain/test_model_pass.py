"""Transcripts that wait for a model get its verdict, each once, or keep their local one visibly."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import uuid4

from ai_services.enrichment.customers.erasing import Order, erase_call
from ai_services.enrichment.phone import PhoneCipher
from ai_services.llm.spend import budget_store
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Bench, spoken
from tests.ai_services.enrichment.test_importing import KEY


def many(count: int) -> list[dict[str, object]]:
    return [spoken(f"c-{n:03d}", f"第{n}号客户说：{COMPLAINS}") for n in range(count)]


async def test_what_is_uncertain_is_judged_by_a_model(bench: Bench) -> None:
    await bench.bring(spoken("a", "我想问一下我的订单", COMPLAINS, agent="我们明天给您回电。"))
    await bench.first_look()
    before = (await bench.calls())["a"]
    assert (before["analyzer"], before["step"], before["degraded"]) == ("unsure", "fallback", True)
    assert (await bench.by_models()).saved == 1
    call = (await bench.calls())["a"]
    assert call["analyzer"].startswith("llm:judge/calls@1:")
    assert (call["sentiment"], call["complaint_risk"]) == ("negative", "high")
    assert (call["step"], call["degraded"], call["waits"]) == ("model", False, False)
    assert call["evidence"] == [{"turn": 2, "text": COMPLAINS}]
    assert call["callbacks"] == [
        {"said": "我们明天给您回电。", "date": "2024-12-05", "time": "10:00"}
    ]
    assert call["confidence"] == 0.9
    rows = await bench.ledger()
    assert [(row["purpose"], row["outcome"]) for row in rows] == [("analysis", "ok")]


async def test_many_share_a_request_and_none_is_asked_about_twice(bench: Bench) -> None:
    await bench.bring(*many(100))
    await bench.first_look()
    assert (await bench.by_models()).saved == 100
    assert bench.asked == 7
    assert bench.metric("analysis_judged_total", outcome="model") == 100


async def test_the_same_words_cost_nothing_again(bench: Bench) -> None:
    await bench.bring(*many(30))
    await bench.first_look()
    await bench.by_models()
    asked = bench.asked
    await bench.bring(*({**one, "callid": f"again-{one['callid']}"} for one in many(30)))
    await bench.first_look()
    assert {call["step"] for call in (await bench.calls()).values()} == {"model", "cache"}
    assert (await bench.by_models()).saved == 0
    assert bench.asked == asked


async def test_what_is_trivial_or_certain_goes_to_no_model(bench: Bench) -> None:
    await bench.bring(spoken("short", "喂"), spoken("box", "您好，请在提示音后留言"))
    await bench.first_look()
    await bench.bring(spoken("sure", COMPLAINS))
    await bench.first_look(confidence=0.9)
    assert {callid: call["step"] for callid, call in (await bench.calls()).items()} == {
        "short": "trivial",
        "box": "trivial",
        "sure": "local",
    }
    await bench.by_models()
    assert bench.asked == 0


async def test_with_llm_a_model_judges_what_is_certain_too(bench: Bench) -> None:
    await bench.reopened(ANALYZER="llm")
    await bench.bring(spoken("sure", COMPLAINS))
    await bench.first_look(confidence=1.0)
    assert (await bench.by_models()).saved == 1


async def test_without_a_model_nothing_is_degraded(bench: Bench) -> None:
    await bench.reopened(ANALYZER="local")
    await bench.bring(spoken("a", COMPLAINS))
    await bench.first_look()
    call = (await bench.calls())["a"]
    assert (call["step"], call["degraded"], call["waits"]) == ("local", False, False)
    assert bench.chain.models is None


async def test_ids_that_are_missing_are_asked_about_alone(bench: Bench) -> None:
    bench.behave("omits")
    await bench.bring(*many(9))
    await bench.first_look()
    assert (await bench.by_models()).saved == 9
    assert bench.asked == 1 + 3
    assert bench.metric("analysis_wrong_ids_total", reason="missing") == 3


async def test_an_id_that_is_there_twice_is_no_answer(bench: Bench) -> None:
    bench.behave("repeats")
    await bench.bring(*many(3))
    await bench.first_look()
    assert (await bench.by_models()).saved == 3
    assert bench.asked == 2
    assert {call["sentiment"] for call in (await bench.calls()).values()} == {"negative"}
    assert bench.metric("analysis_wrong_ids_total", reason="twice") == 1


async def test_ids_that_nobody_asked_about_change_nothing(bench: Bench) -> None:
    bench.behave("adds")
    await bench.bring(*many(3))
    await bench.first_look()
    assert (await bench.by_models()).saved == 3
    assert bench.metric("analysis_wrong_ids_total", reason="unknown") == 1
    assert len(await bench.calls()) == 3


async def test_quotes_that_nobody_said_are_dropped_and_counted(bench: Bench) -> None:
    bench.behave("invents")
    await bench.bring(spoken("a", COMPLAINS))
    await bench.first_look()
    await bench.by_models()
    call = (await bench.calls())["a"]
    assert call["evidence"] == [{"turn": 1, "text": COMPLAINS}]
    assert call["callbacks"] == []
    assert bench.metric("analysis_quotes_dropped_total") == 2


async def test_one_that_no_answer_fits_is_a_dead_letter_and_the_others_are_judged(
    bench: Bench,
) -> None:
    bench.behave("garbles")
    await bench.bring(*many(7), spoken("bad", "garble " * 3))
    await bench.first_look()
    passed = await bench.by_models()
    assert (passed.saved, passed.dead) == (7, 1)
    assert await bench.dead_letters() == {"bad": "invalid"}
    call = (await bench.calls())["bad"]
    assert (call["analyzer"], call["degraded"], call["waits"]) == ("unsure", True, False)
    asked = bench.asked
    await bench.by_models()
    assert bench.asked == asked


async def test_what_no_database_takes_stops_nobody(bench: Bench) -> None:
    bench.behave("nulls")
    await bench.bring(*many(3), spoken("bad", "garble " * 3))
    await bench.first_look()
    passed = await bench.by_models()
    assert (passed.saved, passed.dead) == (3, 1)
    calls = await bench.calls()
    assert calls["c-000"]["summary"] == "a b"
    assert await bench.dead_letters() == {"bad": "invalid"}


async def test_of_a_call_that_is_erased_while_a_model_judges_it_nothing_is_kept(
    bench: Bench,
) -> None:
    bench.behave(delay_s=0.2)
    await bench.bring(*many(3))
    await bench.first_look()
    passing = asyncio.create_task(bench.by_models())
    async with asyncio.timeout(20):
        while not bench.asked:  # noqa: ASYNC110 - another process may ask
            await asyncio.sleep(0.01)
    order = Order(PhoneCipher(KEY, bench.org_id).digests, "user:admin")
    await erase_call(bench.db, bench.org_id, "c-001", order)
    assert (await passing).saved == 2
    assert await bench.count("analysis_cache") == 2


async def test_a_budget_that_ends_leaves_the_rest_degraded_until_there_is_money(
    bench: Bench,
) -> None:
    async with bench.db.tenant(bench.org_id) as tx:
        await budget_store.set_budget(
            tx, bench.org_id, "purpose", "analysis", "day", Decimal("0.05"), hard=True
        )
    await bench.bring(*many(100))
    await bench.first_look()
    passed = await bench.by_models()
    assert passed.away is not None
    assert passed.away.outcome == "budget"
    assert 0 < passed.saved < 100
    calls = await bench.calls()
    assert sum(call["degraded"] for call in calls.values()) == 100 - passed.saved
    async with bench.db.tenant(bench.org_id) as tx:
        await budget_store.set_budget(
            tx, bench.org_id, "purpose", "analysis", "day", Decimal(10), hard=True
        )
    again = await bench.by_models()
    assert again.saved == 100 - passed.saved
    assert len(await bench.ledger()) == bench.asked


async def test_an_outage_is_tried_and_then_left(bench: Bench) -> None:
    await bench.reopened(ANALYSIS_TRIES="2")
    bench.behave(status=500)
    await bench.bring(*many(3))
    await bench.first_look()
    passed = await bench.by_models()
    assert passed.away is not None
    assert passed.saved == 0
    bench.behave()
    assert (await bench.by_models()).saved == 3
    assert await bench.count("analysis_request") == 0


async def test_a_corrected_transcript_forgets_its_insight(bench: Bench) -> None:
    await bench.bring(spoken("a", COMPLAINS))
    await bench.first_look()
    await bench.by_models()
    await bench.bring(spoken("a", "非常满意，谢谢你们"))
    assert await bench.count("call_insight") == 0
    await bench.first_look()
    await bench.by_models()
    assert (await bench.calls())["a"]["sentiment"] == "positive"


async def test_two_passes_at_once_ask_about_each_call_once(bench: Bench) -> None:
    bench.behave(delay_s=0.2)
    await bench.bring(*many(60), *({**one, "callid": f"twin-{one['callid']}"} for one in many(60)))
    await bench.first_look()
    passes = await asyncio.gather(bench.by_models(), bench.by_models())
    assert sum(one.saved for one in passes) == 120
    assert bench.asked == 4
    assert await bench.count("analysis_claim") == 0


async def test_a_long_transcript_is_judged_by_windows(bench: Bench) -> None:
    await bench.reopened(ANALYSIS_REQUEST_TOKENS="500")
    words = [f"第{n}句话，我想再说明一下我的情况。" for n in range(60)]
    await bench.bring(spoken("long", *words, COMPLAINS, str(uuid4())))
    await bench.first_look()
    assert (await bench.by_models()).saved == 1
    assert bench.asked > 2
    call = (await bench.calls())["long"]
    assert call["complaint_risk"] == "high"
    assert {"turn": 61, "text": COMPLAINS} in call["evidence"]
