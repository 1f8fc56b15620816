"""Chat completions through the service, asked by the official client."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import openai
import orjson
import pytest

from benchmarks.model_server import ModelServer
from tests.ai_services.llm.conftest import Api

HELLO: Any = [{"role": "user", "content": "hello"}]


async def ask(api: Api, model: str = "gpt", **fields: Any) -> Any:
    return await api.openai.chat.completions.create(
        **{"model": model, "messages": HELLO, "max_tokens": 100, **fields}
    )


async def streamed(api: Api, model: str = "gpt", **fields: Any) -> list[Any]:
    stream = await ask(api, model, stream=True, **fields)
    return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def test_an_answer_comes_whole_and_is_charged_as_the_provider_counts(
    api: Api, model: ModelServer
) -> None:
    answer = await ask(api)
    assert (answer.choices[0].message.content, answer.model) == ("You said: hello", "gpt")
    (row,) = await api.ledger()
    (bill,) = model.bills
    assert (row["input_tokens"], row["output_tokens"]) == (bill.input, bill.output)
    assert row["cost"] == Decimal(bill.input + 4 * bill.output) / 1_000_000
    assert (row["outcome"], row["source"], row["purpose"]) == ("ok", "provider", "api")
    assert bill.attempt == str(row["attempt_id"])


async def test_a_stream_comes_in_parts_and_is_charged_as_the_provider_counts(
    api: Api, model: ModelServer
) -> None:
    chunks = await streamed(api)
    assert text_of(chunks) == "You said: hello"
    assert all(chunk.choices for chunk in chunks)  # the usage was asked for by us, not the client
    (row,) = await api.ledger()
    assert (row["output_tokens"], row["source"]) == (model.bills[0].output, "provider")
    assert row["first_token_ms"] is not None


async def test_who_asks_for_the_usage_of_a_stream_gets_it(api: Api) -> None:
    chunks = await streamed(api, stream_options={"include_usage": True})
    assert chunks[-1].usage.prompt_tokens > 0


async def test_what_we_do_not_know_goes_on_unchanged(api: Api, model: ModelServer) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what is it"}, image]}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    await ask(
        api, messages=messages, tools=tools, extra_body={"enable_thinking": False, "top_k": 3}
    )
    (body,) = model.bodies
    assert body == {
        "model": "upstream-gpt", "messages": messages, "tools": tools, "max_tokens": 100,
        "enable_thinking": False, "top_k": 3,
    }  # fmt: skip


async def test_the_provider_gets_its_own_key_and_nothing_of_the_client(
    api: Api, model: ModelServer
) -> None:
    await ask(api, extra_headers={"X-Secret": "of the client"})
    (headers,) = model.headers
    assert headers["Authorization"] == "Bearer sk-upstream"
    assert "of the client" not in str(headers)


async def test_structured_outputs_and_tools_work_with_the_official_client(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", tool_call='{"city": "上海"}')
    tools = [
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ]
    answer = await ask(api, tools=tools)
    call = answer.choices[0].message.tool_calls[0].function
    assert (call.name, call.arguments) == ("weather", '{"city": "上海"}')


async def test_embeddings_come_for_each_text(api: Api) -> None:
    answer = await api.openai.embeddings.create(
        model="embed", input=["a", "bcd"], encoding_format="float"
    )
    assert [one.embedding[0] for one in answer.data] == [1.0, 3.0]
    (row,) = await api.ledger()
    assert row["output_tokens"] == 0


async def test_models_are_listed(api: Api) -> None:
    found = await api.openai.models.list()
    assert [one.id for one in found.data] == ["gpt", "careful", "embed", "plain"]
    with pytest.raises(openai.NotFoundError):
        await api.openai.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, None),
        ({"model": "embed"}, openai.BadRequestError, "model"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"max_tokens": 5000}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": -1}, openai.BadRequestError, "max_tokens"),
        ({"n": 1000}, openai.BadRequestError, "n"),
        ({"extra_headers": {"X-Purpose": "No Purpose!"}}, openai.BadRequestError, "X-Purpose"),
    ],
)
async def test_bad_requests_name_the_field_in_the_form_that_clients_know(
    api: Api, model: ModelServer, fields: dict[str, Any], kind: type[Exception], param: str | None
) -> None:
    with pytest.raises(kind) as caught:
        await ask(api, **fields)
    assert getattr(caught.value, "param", None) == param
    assert model.bills == []
    assert await api.ledger() == []


@pytest.mark.parametrize("usage", ["missing", "negative"])
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_cannot_be_true_is_counted_here(
    api: Api, model: ModelServer, usage: str, stream: bool
) -> None:
    model.behave("upstream-gpt", usage=usage)
    await (streamed(api) if stream else ask(api))
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("ok", "counted")
    assert 0 < row["input_tokens"] < 50
    assert 0 < row["output_tokens"] < 50


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_beyond_the_worst_case_is_charged_by_the_worst_case(
    api: Api, model: ModelServer, stream: bool
) -> None:
    model.behave("upstream-gpt", usage="absurd")
    await (streamed(api) if stream else ask(api))
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"], row["cost"]) == ("ok", "estimate", row["reserved"])


@pytest.mark.parametrize("status", [500, 503, 529])
async def test_a_failure_that_passes_is_tried_again_and_costs_nothing(
    api: Api, model: ModelServer, status: int
) -> None:
    model.behave("upstream-gpt", status=status, times=1)
    assert (await ask(api)).choices[0].message.content == "You said: hello"
    first, second = await api.ledger()
    assert (first["outcome"], first["cost"], first["source"]) == ("error", 0, "none")
    assert second["parent"] == first["attempt_id"]
    assert first["request_id"] == second["request_id"]


async def test_another_model_stands_in(api: Api, model: ModelServer) -> None:
    model.behave("upstream-careful", status=500)
    answer = await ask(api, "careful")
    assert answer.model == "gpt"
    assert [row["model"] for row in await api.ledger()] == ["careful", "careful", "gpt"]


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({"status": 429, "retry_after": "7"}, openai.RateLimitError),
        ({"status": 429, "code": "insufficient_quota"}, openai.InternalServerError),
        ({"status": 500}, openai.InternalServerError),
        ({"status": 401}, openai.InternalServerError),
        ({"status": 400}, openai.BadRequestError),
        ({"status": 400, "code": "context_length_exceeded"}, openai.BadRequestError),
        ({"status": 400, "code": "content_filter"}, openai.BadRequestError),
        ({"raw": '{"choices": "none"}'}, openai.InternalServerError),
        ({"raw": "not json"}, openai.InternalServerError),
        ({"break_after": 10}, openai.InternalServerError),
    ],
)
async def test_what_clients_are_told_of_a_provider_that_fails(
    api: Api, model: ModelServer, behaviour: dict[str, Any], kind: type[openai.APIStatusError]
) -> None:
    model.behave("upstream-gpt", **behaviour)
    with pytest.raises(kind) as caught:
        await ask(api)
    error = caught.value
    if isinstance(error, openai.RateLimitError):
        assert error.response.headers["retry-after"] == "7"
    if "code" in behaviour and isinstance(error, openai.BadRequestError):
        assert error.code == behaviour["code"]
    assert "sk-upstream" not in error.response.text


async def test_one_who_hangs_is_given_up_and_charged_by_the_worst_case(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", hang=True)
    with pytest.raises(openai.InternalServerError):
        await ask(api)
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("timeout", "estimate")
    assert row["cost"] == row["reserved"]


async def test_a_stream_that_breaks_says_so_in_band_and_is_counted(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", words=50, break_after=5)
    with pytest.raises(openai.APIError, match="not whole"):
        await streamed(api)
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("broken", "counted")
    assert 0 < row["output_tokens"] < 100


async def test_a_stream_that_holds_what_is_no_chunk_says_so(api: Api, model: ModelServer) -> None:
    model.behave("upstream-gpt", words=50, raw="data: {broken\n\n")
    with pytest.raises(openai.APIError):
        await streamed(api)
    assert [row["outcome"] for row in await api.ledger()] == ["broken"]


async def test_a_stream_that_fails_before_its_first_event_is_tried_again(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", status=503, times=1)
    assert text_of(await streamed(api)) == "You said: hello"
    assert [row["outcome"] for row in await api.ledger()] == ["error", "ok"]


async def test_a_client_that_goes_away_ends_the_request_upstream_and_pays_for_what_came(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", words=2000, pause_s=0.01)
    stream = await ask(api, stream=True, max_tokens=4000)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("cancelled", "counted")
    assert 0 < row["output_tokens"] < 200
    billed = model.bills[0].output
    await asyncio.sleep(0.1)
    assert model.bills[0].output <= billed + 5


async def test_a_refusal_is_an_answer_and_is_told_as_one(api: Api, model: ModelServer) -> None:
    model.behave("upstream-gpt", refusal="I won't.")
    answer = await ask(api)
    assert answer.choices[0].message.refusal == "I won't."
    (row,) = await api.ledger()
    assert row["outcome"] == "refused"


async def test_an_answer_that_a_filter_keeps_back_is_asked_for_elsewhere(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-careful", finish="content_filter")
    answer = await ask(api, "careful")
    assert (answer.model, answer.choices[0].finish_reason) == ("gpt", "stop")
    first, second = await api.ledger()
    assert (first["outcome"], second["outcome"]) == ("refused", "ok")
    assert second["parent"] == first["attempt_id"]


async def test_an_answer_that_all_filters_keep_back_is_the_answer(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-careful", finish="content_filter")
    model.behave("upstream-gpt", status=500)
    answer = await ask(api, "careful")
    assert (answer.model, answer.choices[0].finish_reason) == ("careful", "content_filter")


async def test_a_body_that_is_no_json_is_refused_in_that_form_too(api: Api) -> None:
    answer = await api.http.post(
        "/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(orjson.loads(answer.content)) == {"error"}


PHONE = "13800138000"


async def test_personal_data_does_not_leave_and_comes_back(api: Api, model: ModelServer) -> None:
    said: Any = [{"role": "user", "content": f"我的号码是{PHONE}谢谢"}]
    answer = await ask(api, messages=said)
    chunks = await streamed(api, messages=said)
    assert answer.choices[0].message.content == f"You said: 我的号码是{PHONE}谢谢"
    assert text_of(chunks) == f"You said: 我的号码是{PHONE}谢谢"
    assert PHONE not in str(model.bodies)


async def test_an_organisation_may_have_its_prompts_sent_as_they_are(
    api: Api, model: ModelServer
) -> None:
    async with api.organisation.db.tenant(api.organisation.org_id) as tx:
        await tx.execute(
            "INSERT INTO llm_setting (org_id, mask_personal_data) VALUES ($1, false)",
            api.organisation.org_id,
        )
    await ask(api, messages=[{"role": "user", "content": PHONE}])
    assert PHONE in str(model.bodies)


async def test_an_answer_is_kept_for_who_asks_for_that(api: Api, model: ModelServer) -> None:
    wish = {"X-Cache-Seconds": "60"}
    first = await ask(api, extra_headers=wish)
    again = await api.openai.chat.completions.with_raw_response.create(
        model="gpt", messages=HELLO, max_tokens=100, extra_headers=wish
    )
    assert again.headers["x-cache"] == "hit"
    assert again.parse() == first
    assert len(model.bills) == 1
    await ask(api, extra_headers=wish, temperature=0.5)
    await ask(api, extra_headers={**wish, "X-Prompt-Version": "mood@2"})
    await ask(api)
    assert len(model.bills) == 4


async def test_a_refusal_is_not_kept(api: Api, model: ModelServer) -> None:
    model.behave("upstream-gpt", refusal="I won't.", times=1)
    wish = {"X-Cache-Seconds": "60"}
    await ask(api, extra_headers=wish)
    answer = await ask(api, extra_headers=wish)
    assert answer.choices[0].message.content == "You said: hello"


async def test_identical_requests_in_flight_share_one_where_answers_may_be_kept(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", delay_s=0.3)
    wish = {"X-Cache-Seconds": "60"}
    answers = await asyncio.gather(*(ask(api, extra_headers=wish) for _ in range(5)))
    assert len({answer.id for answer in answers}) == 1
    assert len(model.bills) == 1


async def test_who_shares_an_answer_in_flight_shares_limits_and_budgets(
    api: Api, model: ModelServer
) -> None:
    """Another caller may have money where this one has none: each asks for himself."""
    model.behave("upstream-gpt", delay_s=0.3)
    wish = {"X-Cache-Seconds": "60"}
    await asyncio.gather(
        ask(api, extra_headers=wish), ask(api, extra_headers={**wish, "X-Purpose": "other"})
    )
    assert len(model.bills) == 2


async def test_a_tool_call_that_is_none_is_an_answer_of_the_wrong_shape(
    api: Api, model: ModelServer
) -> None:
    message = '{"role": "assistant", "content": "x", "tool_calls": 5}'
    model.behave("upstream-gpt", raw=f'{{"choices": [{{"index": 0, "message": {message}}}]}}')
    await ask(api)
    assert [row["outcome"] for row in await api.ledger()] == ["ok"]
