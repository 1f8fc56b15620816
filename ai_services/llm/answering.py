"""Answers in the form of OpenAI's API: whole, streamed, and of failures."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from pydantic import BaseModel
from sanic.response import HTTPResponse

from ai_services.llm.asking.completions import Completion, Wishes
from ai_services.llm.asking.question import Asker
from ai_services.llm.protocol.failure import failure_event
from ai_services.llm.protocol.request import ChatRequest
from ai_services.llm.state import State
from shared.errors import LoomaError, render_openai
from shared.serving.envelope import error_response, json_response
from shared.serving.service import Call
from shared.wire import REQUEST_ID_HEADER


async def chat(
    call: Call[State], asker: Asker, request: ChatRequest, wishes: Wishes
) -> HTTPResponse:
    """As the client wants it: as a whole, or event by event."""
    if request.stream:
        return await _streamed(call, asker, request, wishes)
    completion = await call.state.completions.chat(asker, request, wishes)
    return completed(completion, call.request_id)


def completed(completion: Completion, request_id: str) -> HTTPResponse:
    headers = {REQUEST_ID_HEADER: request_id}
    if completion.cached:
        headers["x-cache"] = "hit"
    return HTTPResponse(completion.body, 200, headers, "application/json")


def document(data: BaseModel, request_id: str) -> HTTPResponse:
    return json_response(data, headers={REQUEST_ID_HEADER: request_id})


def failed(error: BaseException, request_id: str) -> HTTPResponse:
    return error_response(error, request_id, render_openai)


async def _streamed(
    call: Call[State], asker: Asker, request: ChatRequest, wishes: Wishes
) -> HTTPResponse:
    """Failures before the first event are answers; later ones are told in the stream."""
    async with aclosing(call.state.completions.stream(asker, request, wishes)) as events:
        first = await anext(events)
        response: Any = await call.request.respond(
            headers={REQUEST_ID_HEADER: call.request_id, "cache-control": "no-cache"},
            content_type="text/event-stream; charset=utf-8",
        )
        await response.send(first)
        try:
            async for some in events:
                await response.send(some)
        except LoomaError as error:
            await response.send(failure_event(error, call.request_id))
        await response.eof()
    return response  # type: ignore[no-any-return]  # Sanic leaves `respond` untyped
