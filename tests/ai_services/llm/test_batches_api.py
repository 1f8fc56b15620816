"""Batches through the service, made by the official client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import openai
import orjson
import pytest

from benchmarks.model_batches import BatchBehaviour
from benchmarks.model_server import ModelServer
from tests.ai_services.llm.conftest import Api
from tests.ai_services.llm.spend.books import assert_law

CHAT = "/v1/chat/completions"


def line(custom_id: str, content: str = "hello", **fields: Any) -> dict[str, Any]:
    body = {"model": "gpt", "messages": [{"role": "user", "content": content}], "max_tokens": 50}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {**body, **fields}}


async def sent(api: Api, lines: Sequence[Any], endpoint: Any = CHAT) -> Any:
    content = b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in lines)
    file = await api.openai.files.create(file=("in.jsonl", content), purpose="batch")
    return await api.openai.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h"
    )


async def until(
    api: Api, batch: Any, wanted: Callable[[Any], bool], *, at_once: bool = False
) -> Any:
    """`at_once`: however long the service would wait until its next look."""
    async with asyncio.timeout(20):
        while not wanted(batch):
            await asyncio.sleep(0.02)
            if at_once:
                async with api.organisation.db.tenant(api.organisation.org_id) as tx:
                    await tx.execute("UPDATE llm_batch SET next_look_at = now()")
            batch = await api.openai.batches.retrieve(batch.id)
    return batch


async def ended(api: Api, batch: Any) -> Any:
    final = {"completed", "failed", "expired", "cancelled"}
    return await until(api, batch, lambda one: one.status in final)


async def lines_of(api: Api, file_id: str | None) -> dict[str, Any]:
    """By custom_id."""
    assert file_id is not None
    content = (await api.openai.files.content(file_id)).content
    return {one["custom_id"]: one for one in map(orjson.loads, content.splitlines())}


async def test_a_batch_is_answered_for_half_the_price(api: Api, model: ModelServer) -> None:
    batch = await sent(api, [line("a", "hello"), line("b", "good bye")])
    assert (batch.status, batch.request_counts.total) == ("validating", 2)
    done = await ended(api, batch)
    assert (done.status, done.request_counts.completed) == ("completed", 2)
    answers = await lines_of(api, done.output_file_id)
    texts = {
        name: one["response"]["body"]["choices"][0]["message"]["content"]
        for name, one in answers.items()
    }
    assert texts == {"a": "You said: hello", "b": "You said: good bye"}
    assert {one["response"]["body"]["model"] for one in answers.values()} == {"gpt"}
    rows = {str(row["attempt_id"]): row for row in await api.ledger()}
    assert len(rows) == len(model.bills) == 2
    for bill in model.bills:
        row = rows[bill.attempt]
        assert (row["input_tokens"], row["output_tokens"]) == (bill.input, bill.output)
        assert row["cost"] == Decimal(bill.input + 4 * bill.output) / 2_000_000
        assert (row["outcome"], row["price_version"]) == ("ok", "2025-01-01 batch")


async def test_what_the_provider_kept_of_it_is_deleted(api: Api, model: ModelServer) -> None:
    await ended(api, await sent(api, [line("a")]))
    async with asyncio.timeout(10):
        while model.batches.files:  # noqa: ASYNC110 - the service deletes them behind its answer
            await asyncio.sleep(0.02)


async def test_a_hard_budget_refuses_the_whole_before_anything_is_sent(
    api: Api, model: ModelServer
) -> None:
    await api.organisation.set_budget("0.0003")
    with pytest.raises(openai.APIStatusError, match="this batch may cost") as caught:
        await sent(api, [line(str(number)) for number in range(4)])
    assert caught.value.status_code == 402
    assert await api.ledger() == []
    assert not model.batches.files
    assert (await ended(api, await sent(api, [line("one")]))).status == "completed"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (b"{", "line 2"),
        (b"[]", "line 2"),
        (line("a"), "line 2: custom_id"),
        (line(""), "line 2: custom_id"),
        ({**line("b"), "method": "GET"}, "line 2: method"),
        ({**line("b"), "url": "/v1/embeddings"}, "line 2: url"),
        ({**line("b"), "body": None}, "line 2: body"),
        (line("b", model="careful"), "line 2: body.model"),
        (line("b", messages=[]), "line 2: body.messages"),
        (line("b", max_tokens=5000), "line 2: body.max_tokens"),
        (line("b", stream=True), "line 2: body.stream"),
    ],
)
async def test_a_line_that_is_wrong_is_named(
    api: Api, model: ModelServer, wrong: Any, field: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sent(api, [line("a"), wrong])
    assert caught.value.param == field
    assert await api.ledger() == []
    assert not model.batches.files


@pytest.mark.parametrize("name", ["nobody", "embed", "plain"])
async def test_a_model_that_no_batch_can_ask_is_named(api: Api, name: str) -> None:
    with pytest.raises(openai.BadRequestError):
        await sent(api, [line("a", model=name)])


async def test_the_same_key_makes_one_batch(api: Api, stranger: Api, model: ModelServer) -> None:
    content = orjson.dumps(line("a"))
    made = []
    for one in (api, api, stranger):
        file = await one.openai.files.create(file=("in.jsonl", content), purpose="batch")
        batch = await one.openai.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h",
            extra_headers={"Idempotency-Key": "nightly"},
        )  # fmt: skip
        made.append((await ended(one, batch)).id)
    assert made[0] == made[1] != made[2]
    assert len(model.bills) == 2


async def test_ids_of_others_are_none(api: Api, stranger: Api) -> None:
    batch = await sent(api, [line("a")])
    for asked in (
        stranger.openai.batches.retrieve(batch.id),
        stranger.openai.batches.cancel(batch.id),
        stranger.openai.files.retrieve(batch.input_file_id),
        stranger.openai.files.content(batch.input_file_id),
        stranger.openai.files.delete(batch.input_file_id),
        stranger.openai.batches.create(
            input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
        ),
        api.openai.batches.retrieve("batch_1"),
        api.openai.files.content("file-../../x"),
    ):
        with pytest.raises(openai.NotFoundError):
            await asked


async def test_personal_data_does_not_leave_and_comes_back(api: Api, model: ModelServer) -> None:
    done = await ended(
        api, await sent(api, [line("a", "call 13812345678"), line("b", "13812345679")])
    )
    assert "138123" not in str(model.bodies)
    answers = await lines_of(api, done.output_file_id)
    assert "call 13812345678" in str(answers["a"])
    assert "13812345679" in str(answers["b"])


async def test_nothing_of_it_can_be_read_in_the_database(api: Api) -> None:
    done = await ended(api, await sent(api, [line("a", "a secret of ours")]))
    async with api.organisation.db.tenant(api.organisation.org_id) as tx:
        rows = [
            *await tx.fetch("SELECT * FROM llm_file"),
            *await tx.fetch("SELECT * FROM llm_batch"),
        ]
    assert done.output_file_id is not None
    assert "a secret of ours" not in str([dict(row) for row in rows])


async def test_lines_that_failed_cost_nothing_and_say_why(api: Api, model: ModelServer) -> None:
    model.behave("upstream-gpt", times=1, status=400, code="bad", text="no such tool")
    done = await ended(api, await sent(api, [line("a"), line("b")]))
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    failed = (await lines_of(api, done.error_file_id))["a"]
    assert failed["response"]["status_code"] == 400
    assert failed["response"]["body"]["error"]["message"] == "no such tool"
    by_outcome = {row["outcome"]: row for row in await api.ledger()}
    assert by_outcome["error"]["cost"] == 0
    assert by_outcome["ok"]["cost"] > 0


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
async def test_what_was_not_answered_in_the_end_is_released(
    api: Api, model: ModelServer, status: str
) -> None:
    model.batches.behaviour = BatchBehaviour(status=status, answered=1, backwards=True)
    done = await ended(api, await sent(api, [line("a"), line("b")]))
    assert done.status == status
    answered = 0 if status == "failed" else 1
    assert done.request_counts.completed == answered
    assert sum(row["cost"] > 0 for row in await api.ledger()) == answered
    if status == "failed":
        assert done.errors.data[0].code == "invalid_json_line"
    else:
        assert set(await lines_of(api, done.output_file_id)) == {"a"}
        assert set(await lines_of(api, done.error_file_id)) == {"b"}


async def test_an_answer_that_is_missing_is_charged_its_worst_case(
    api: Api, model: ModelServer
) -> None:
    model.batches.behaviour = BatchBehaviour(missing=True)
    done = await ended(api, await sent(api, [line("a")]))
    assert (done.status, done.output_file_id) == ("completed", None)
    (row,) = await api.ledger()
    assert (row["source"], row["cost"]) == ("estimate", row["reserved"])


async def test_a_provider_that_refuses_it_fails_the_batch(api: Api, model: ModelServer) -> None:
    model.batches.behaviour = BatchBehaviour(refuse=400)
    done = await ended(api, await sent(api, [line("a")]))
    assert done.status == "failed"
    assert done.errors.data[0].message == "The model server answers 400."
    assert [row["cost"] for row in await api.ledger()] == [0]


async def test_a_batch_under_way_can_be_cancelled(api: Api, model: ModelServer) -> None:
    model.batches.behaviour = BatchBehaviour(status="in_progress")
    batch = await until(api, await sent(api, [line("a")]), lambda one: one.status == "in_progress")
    assert (await api.openai.batches.cancel(batch.id)).status == "cancelling"
    done = await ended(api, batch)
    assert done.status == "cancelled"
    await api.openai.batches.cancel(batch.id)  # changes nothing


async def test_what_is_completed_cannot_be_cancelled(api: Api) -> None:
    done = await ended(api, await sent(api, [line("a")]))
    with pytest.raises(openai.BadRequestError, match="completed already"):
        await api.openai.batches.cancel(done.id)


async def test_one_whose_creation_nobody_saw_is_found_and_not_sent_again(
    api: Api, model: ModelServer
) -> None:
    model.batches.behaviour = BatchBehaviour(lost=True)
    batch = await sent(api, [line("a")])
    async with asyncio.timeout(20):
        while not model.batches.batches:  # noqa: ASYNC110 - the service makes it
            await asyncio.sleep(0.02)
    done = await until(api, batch, lambda one: one.status == "completed", at_once=True)
    assert done.status == "completed"
    assert (len(model.batches.batches), len(model.bills)) == (1, 1)


async def test_embeddings_come_in_batches_too(api: Api, model: ModelServer) -> None:
    one = {
        "custom_id": "v", "method": "POST", "url": "/v1/embeddings",
        "body": {"model": "embed", "input": ["a", "bcd"]},
    }  # fmt: skip
    done = await ended(api, await sent(api, [one], "/v1/embeddings"))
    data = (await lines_of(api, done.output_file_id))["v"]["response"]["body"]["data"]
    assert [vector["embedding"][0] for vector in data] == [1.0, 3.0]
    assert model.bills[0].model == "upstream-embed"


async def test_a_file_is_kept_until_it_is_deleted(api: Api) -> None:
    file = await api.openai.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
    assert (await api.openai.files.retrieve(file.id)).bytes == 3
    assert (await api.openai.files.content(file.id)).content == b"{}\n"
    assert (await api.openai.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await api.openai.files.retrieve(file.id)
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await api.openai.files.create(file=("in.jsonl", b"{}\n"), purpose="assistants")


@pytest.mark.slow
async def test_as_many_lines_as_there_may_be(api: Api, model: ModelServer) -> None:
    model.keep_bodies = False
    budget = await api.organisation.set_budget("1000")
    batch = await sent(api, [line(str(number)) for number in range(10_000)])
    reserved, _ = await api.organisation.window(budget)
    assert reserved > 0
    done = await ended(api, batch)
    assert done.request_counts.completed == 10_000
    assert len(await lines_of(api, done.output_file_id)) == 10_000
    await assert_law(api.organisation)
    with pytest.raises(openai.BadRequestError, match="more than 10000 requests"):
        await sent(api, [line(str(number)) for number in range(10_001)])
