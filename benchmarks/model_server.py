"""A language model on loopback: the OpenAI protocol over real HTTP, doing as it is told.

    python -m benchmarks.model_server --port 0        (prints its URL, then serves)

It answers chat completions (whole and as server-sent events), embeddings and batches of both, bills
each request and keeps the bills: what a ledger says can be compared with them. `Behaviour` makes it slow, hang, refuse,
limit, break off, or lie about its tokens; by HTTP, `PUT /control/MODEL` takes the same fields as
JSON and `GET /control/bills` gives what was billed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import orjson
from aiohttp import web

from benchmarks.call_judge import judge
from benchmarks.model_batches import Batches

ATTEMPT_HEADER: Final = "X-Client-Request-Id"
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a model answers. `times`: for so many requests, then as by default; 0: always."""

    times: int = 0
    text: str | None = None  # the answer; None: "You said: " and the last message
    words: int = 0  # the answer has so many words instead
    judge: str | None = None  # it judges calls, truthfully or as benchmarks/call_judge.py says
    delay_s: float = 0.0  # before the answer's head
    jitter_s: float = 0.0  # up to so much more, evenly spread
    pause_s: float = 0.0  # between two parts of a stream
    hang: bool = False  # takes the request and says nothing
    status: int = 200
    code: str | None = None  # of the error, with a status other than 200
    retry_after: str | None = None
    break_after: int | None = None  # parts of a stream (whole: bytes), then the connection is cut
    raw: str | None = None  # this as the whole body, or in place of the stream's second part
    finish: str = "stop"
    refusal: str | None = None
    usage: str = "true"  # true, missing, negative, absurd
    tool_call: str | None = None  # arguments of a call of the first tool offered


@dataclass(slots=True)
class Bill:
    """One request as its provider would charge it; `ended` False: it was cut off or broke off."""

    attempt: str
    model: str
    stream: bool
    status: int = 200
    input: int = 0
    output: int = 0
    ended: bool = False
    waited_s: float = 0.0  # before its answer, as the model was told to


@dataclass(slots=True)
class ModelServer:
    """What it was asked, and how it is to answer, by model; `key` None takes any Bearer token."""

    key: str | None = None
    behaviours: dict[str, Behaviour] = field(default_factory=lambda: defaultdict(Behaviour))
    bills: list[Bill] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    keep_bodies: bool = True
    url: str = ""  # with /v1
    _ids: Any = field(default_factory=itertools.count)
    _random: random.Random = field(default_factory=lambda: random.Random(1))
    batches: Batches = field(init=False)

    def __post_init__(self) -> None:
        self.batches = Batches(self._batched)

    def behave(self, model: str, **fields: Any) -> None:
        self.behaviours[model] = Behaviour(**fields)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.add_routes(self.batches.routes(self._allowed))
        app.router.add_put("/control/{model}", self._control)
        app.router.add_get("/control/bills", self._bills)
        return app

    def _take(self, model: str) -> Behaviour:
        now = self.behaviours.get(model) or Behaviour()
        if now.times == 1:
            del self.behaviours[model]
        elif now.times > 1:
            self.behaviours[model] = replace(now, times=now.times - 1)
        return now

    async def _begin(self, request: web.Request) -> tuple[dict[str, Any], Bill, Behaviour]:
        body = orjson.loads(await request.read())
        bill = Bill(
            request.headers.get(ATTEMPT_HEADER, ""),
            str(body.get("model")),
            bool(body.get("stream")),
        )
        self.bills.append(bill)
        if self.keep_bodies:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
        now = self._take(bill.model)
        if not self._allowed(request):
            now = replace(now, status=401, code="invalid_api_key")
        if now.hang:
            await asyncio.sleep(3600)
        if now.delay_s or now.jitter_s:
            bill.waited_s = now.delay_s + now.jitter_s * self._random.random()
            await asyncio.sleep(bill.waited_s)
        return body, bill, now

    def _allowed(self, request: web.Request) -> bool:
        return self.key is None or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body, bill, now = await self._begin(request)
        if now.status != 200:
            return _failure(bill, now)
        text = _answer(body, now)
        bill.input = tokens(orjson.dumps(body.get("messages")).decode())
        if bill.stream:
            return await self._stream(request, body, bill, now, text)
        whole = self._whole(body, bill, now, text)
        content = orjson.dumps(whole) if now.raw is None else now.raw.encode()
        if now.break_after is not None:
            response = web.StreamResponse(
                headers={"Content-Type": "application/json", "Content-Length": str(len(content))}
            )
            await response.prepare(request)
            await response.write(content[: now.break_after])
            _cut(request)
            return response
        bill.ended = True
        return web.Response(body=content, content_type="application/json")

    def _whole(
        self, body: Mapping[str, Any], bill: Bill, now: Behaviour, text: str
    ) -> dict[str, Any]:
        """A chat completion; bills its output."""
        bill.output = sum(tokens(text) for _ in range(body.get("n") or 1))
        return {
            "id": f"chatcmpl-{next(self._ids)}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": bill.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(body, now, text),
                    "finish_reason": "tool_calls" if now.tool_call else now.finish,
                    "logprobs": None,
                }
                for index in range(body.get("n") or 1)
            ],
            **_usage(bill, now),
        }

    def _batched(
        self, attempt: str, url: str, body: Mapping[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer of a request within a batch."""
        bill = Bill(attempt, str(body.get("model")), stream=False)
        self.bills.append(bill)
        if self.keep_bodies:
            self.bodies.append(dict(body))
        now = self._take(bill.model)
        bill.status, bill.ended = now.status, True
        if now.status != 200:
            return now.status, {"error": {"message": now.text or "", "code": now.code}}
        if url == "/v1/embeddings":
            return 200, _vectors(body, bill, now)
        text = _answer(body, now)
        bill.input = tokens(orjson.dumps(body.get("messages")).decode())
        return 200, self._whole(body, bill, now, text)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], bill: Bill, now: Behaviour, text: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        about = {
            "id": f"chatcmpl-{next(self._ids)}",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": bill.model,
        }
        parts = _parts(text) if now.tool_call is None else [now.tool_call]
        written = ""
        for index, part in enumerate(parts):
            if now.break_after is not None and index >= now.break_after:
                bill.output = tokens(written)
                _cut(request)
                return response
            if now.raw is not None and index == 1:
                await response.write(now.raw.encode())
                continue
            written += part
            bill.output = tokens(written)
            delta = _delta(body, now, part, first=index == 0)
            chunk = {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            await response.write(b"data: %b\n\n" % orjson.dumps(chunk))
            if now.pause_s:
                await asyncio.sleep(now.pause_s)
        finish = "tool_calls" if now.tool_call else now.finish
        last = {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        await response.write(b"data: %b\n\n" % orjson.dumps(last))
        if (body.get("stream_options") or {}).get("include_usage") and now.usage != "missing":
            usage = {**about, "choices": [], **_usage(bill, now)}
            await response.write(b"data: %b\n\n" % orjson.dumps(usage))
        await response.write(b"data: [DONE]\n\n")
        bill.ended = True
        return response

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body, bill, now = await self._begin(request)
        if now.status != 200:
            return _failure(bill, now)
        answer = _vectors(body, bill, now)
        bill.ended = True
        return web.json_response(answer)

    async def _control(self, request: web.Request) -> web.StreamResponse:
        self.behave(request.match_info["model"], **orjson.loads(await request.read()))
        return web.Response(status=204)

    async def _bills(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=orjson.dumps([asdict(bill) for bill in self.bills]),
            content_type="application/json",
        )


def tokens(text: str) -> int:
    """What this model counts: a token for each three bytes."""
    return len(text.encode()) // 3 + 1


def _vectors(body: Mapping[str, Any], bill: Bill, now: Behaviour) -> dict[str, Any]:
    """An answer to a request for embeddings; bills it."""
    given = body["input"]
    texts = given if isinstance(given, list) and given and isinstance(given[0], str) else [given]
    bill.input = sum(tokens(str(text)) for text in texts)
    vectors = [
        {"object": "embedding", "index": index, "embedding": [float(len(str(text))), 1.0, 0.0]}
        for index, text in enumerate(texts)
    ]
    answer = {"object": "list", "data": vectors, "model": bill.model}
    usage = {"prompt_tokens": bill.input, "total_tokens": bill.input}
    return answer if now.usage == "missing" else {**answer, "usage": usage}


def _answer(body: Mapping[str, Any], now: Behaviour) -> str:
    if now.judge is not None:
        text = judge(body, now.judge)
    elif now.words:
        text = " ".join(f"word{index}" for index in range(now.words))
    elif now.text is not None:
        text = now.text
    else:
        content = body["messages"][-1].get("content")
        said = content if isinstance(content, str) else orjson.dumps(content).decode()
        text = f"You said: {said}"
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    # As a real model it stops where it is told to.
    return text if most is None else text.encode()[: (most - 1) * 3].decode(errors="ignore")


def _parts(text: str) -> list[str]:
    return [text[at : at + 8] for at in range(0, len(text), 8)] or [""]


def _message(body: Mapping[str, Any], now: Behaviour, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": now.refusal}
    if now.judge == "refuses" and "garble" in str(body["messages"]):
        message["refusal"] = "I can't judge this."
    if message["refusal"] is not None:
        message["content"] = None
    if now.tool_call is not None:
        message["content"] = None
        message["tool_calls"] = [
            {"id": "call_1", "type": "function", "function": _function(body, now.tool_call)}
        ]
    return message


def _delta(body: dict[str, Any], now: Behaviour, part: str, *, first: bool) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if now.tool_call is not None:
        call = {"index": 0, "id": "call_1", "type": "function", "function": _function(body, part)}
        return {**delta, "tool_calls": [call]}
    return {**delta, "content": part}


def _function(body: Mapping[str, Any], arguments: str) -> dict[str, str]:
    tools = body.get("tools") or [{"function": {"name": "unnamed"}}]
    return {"name": tools[0]["function"]["name"], "arguments": arguments}


def _usage(bill: Bill, now: Behaviour) -> dict[str, Any]:
    if now.usage == "missing":
        return {}
    factor = {"true": 1, "negative": -1, "absurd": 1_000_000}[now.usage]
    return {
        "usage": {
            "prompt_tokens": bill.input * factor,
            "completion_tokens": bill.output * factor,
            "total_tokens": (bill.input + bill.output) * factor,
        }
    }


def _failure(bill: Bill, now: Behaviour) -> web.Response:
    bill.status = now.status
    bill.ended = True
    headers = {} if now.retry_after is None else {"Retry-After": now.retry_after}
    error = {
        "message": now.text or f"The model server was told to answer {now.status}.",
        "type": _ERROR_TYPES.get(now.status, "server_error"),
        "param": None,
        "code": now.code,
    }
    body = now.raw.encode() if now.raw is not None else orjson.dumps({"error": error})
    return web.Response(
        status=now.status, body=body, headers=headers, content_type="application/json"
    )


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@asynccontextmanager
async def model_server(key: str | None = None, port: int = 0) -> AsyncIterator[ModelServer]:
    """Serve on 127.0.0.1 inside the block; `url` is the base URL of its clients."""
    server = ModelServer(key=key)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


async def _serve(port: int) -> None:
    async with model_server(port=port) as server:
        server.keep_bodies = False
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A language model on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
