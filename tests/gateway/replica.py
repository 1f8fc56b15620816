"""A small service on the platform's own frame: `python -m tests.gateway.replica` is one replica."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from pydantic import BaseModel
from sanic.response import HTTPResponse

from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.serving.process import main
from shared.serving.registry import announce
from shared.serving.service import BaseAIService, Call, Endpoint

EVENTS: Final = 10
PAUSE_S: Final = 0.03  # between two of them


class Text(BaseModel):
    text: str


def create_replica(config: Config) -> BaseAIService[None]:
    return BaseAIService("enrichment", config, endpoints=ENDPOINTS, open_state=announced)


async def announced(service: BaseAIService[None], stack: AsyncExitStack) -> None:
    """Stand in the registry while it serves, as every service does."""
    cache = RedisCache(str(service.config.redis_url))
    stack.push_async_callback(cache.close)
    service.background("registry", lambda: announce(cache, service.name, service.url))


async def item(_call: Call[None]) -> str:
    await asyncio.sleep(0.005)
    return "done"


async def taken(call: Call[None]) -> int:
    await asyncio.sleep(0.005)
    return len(call.body.text)


async def events(call: Call[None]) -> HTTPResponse:
    """Server-sent events for a while, so that some are under way whenever a replica stops."""
    response = await call.request.respond(content_type="text/event-stream")
    assert isinstance(response, HTTPResponse)
    for number in range(EVENTS):
        await response.send(f"data: {number}\n\n")
        await asyncio.sleep(PAUSE_S)
    await response.eof()
    return response


ENDPOINTS: Final = [
    Endpoint("GET", "/it/{id}", item, "public", "An item"),
    Endpoint("POST", "/it/{id}", taken, "public", "The size of a text", body=Text),
    Endpoint("GET", "/events/{id}", events, "public", "Some events"),
]


if __name__ == "__main__":
    main("enrichment", create_replica)
