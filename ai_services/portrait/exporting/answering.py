"""Sending an export while it is being written."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from sanic.response import HTTPResponse

from ai_services.portrait.exporting.export import Export
from shared.serving.service import Call
from shared.wire import REQUEST_ID_HEADER


async def sent(call: Call[Any], found: Export, media_type: str) -> HTTPResponse:
    """A failure before the first part is an answer; a later one cuts the file off."""
    async with aclosing(found.parts) as parts:
        first = await anext(parts, b"")
        response: Any = await call.request.respond(
            headers={
                REQUEST_ID_HEADER: call.request_id,
                "cache-control": "no-store",
                "content-disposition": f'attachment; filename="{found.name}"',
            },
            content_type=media_type,
        )
        await response.send(first)
        async for part in parts:
            await response.send(part)
        await response.eof()
    return response  # type: ignore[no-any-return]  # Sanic leaves `respond` untyped
