"""A llm service on loopback that answers what a test wants, and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def said(content: str | None, reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion."""
    whole = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": whole, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


@dataclass
class Models:
    """`answers` go out in their order: a completion, or (status, error, headers).

    Where there is `judge` it answers all requests instead.
    """

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    pause_s: float = 0.0
    judge: Callable[[dict[str, Any]], Any] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(request.headers)
        await asyncio.sleep(self.pause_s)
        answer = self.answers.pop(0) if self.judge is None else self.judge(body)
        if isinstance(answer, list):
            events = "".join(f"data: {one}\n\n" for one in answer)
            return web.Response(text=events, content_type="text/event-stream")
        if isinstance(answer, tuple):
            status, error, headers = answer
            return web.json_response({"error": error}, status=status, headers=headers)
        return web.json_response(answer)


@asynccontextmanager
async def running_models() -> AsyncIterator[Models]:
    models = Models()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", models.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    models.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield models
    await runner.cleanup()
