"""Failures within a stream that has begun, as OpenAI's clients know them."""

from __future__ import annotations

import orjson

from ai_services.llm.protocol.sse import written
from shared.errors import LoomaError, openai_body


def failure_event(error: LoomaError, request_id: str) -> bytes:
    """An event that clients raise; no [DONE] follows it."""
    return written(orjson.dumps(openai_body(error, request_id)))
