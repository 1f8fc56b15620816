"""Requests that have time, answered by the llm service as one batch, within a day and for less."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import openai
import orjson
from openai.types.chat import ChatCompletion

from shared.errors import LoomaError
from shared.llm.client import translated
from shared.wire import IDEMPOTENCY_KEY_HEADER

_ENDPOINT: Final = "/v1/chat/completions"
_TIMEOUT_S: Final = 120.0
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Ended:
    """`answers` by the names of their requests; those that have none failed, or were not carried out."""

    status: str
    answers: Mapping[str, ChatCompletion]


async def send_requests(client: openai.AsyncOpenAI, requests: Mapping[str, Any]) -> str:
    """The file of requests for `make_batch`: bodies of chat completions by names of their own."""
    content = b"\n".join(
        orjson.dumps({"custom_id": name, "method": "POST", "url": _ENDPOINT, "body": body})
        for name, body in requests.items()
    )
    with translated():
        file = await client.files.create(
            file=("requests.jsonl", content), purpose="batch", timeout=_TIMEOUT_S
        )
    return file.id


async def make_batch(client: openai.AsyncOpenAI, file: str, key: str) -> str:
    """A batch of that file; the one that there is, if one was made with this key."""
    with translated():
        batch = await client.batches.create(
            input_file_id=file,
            endpoint=_ENDPOINT,
            completion_window="24h",
            extra_headers={IDEMPOTENCY_KEY_HEADER: key},
            timeout=_TIMEOUT_S,
        )
    return batch.id


async def look_at(client: openai.AsyncOpenAI, batch: str) -> Ended | None:
    """None: it has not ended. NotFound for one that is not kept any more."""
    with translated():
        found = await client.batches.retrieve(batch)
        if found.status not in _ENDED:
            return None
        if found.output_file_id is None:
            return Ended(found.status, {})
        content = (await client.files.content(found.output_file_id)).content
    return Ended(found.status, dict(map(_answer, content.splitlines())))


async def forget(client: openai.AsyncOpenAI, batch: str) -> None:
    """Delete its files, as far as they are there."""
    with suppress(LoomaError), translated():
        found = await client.batches.retrieve(batch)
        for file in (found.input_file_id, found.output_file_id, found.error_file_id):
            if file is not None:
                await client.files.delete(file)


def _answer(line: bytes) -> tuple[str, ChatCompletion]:
    said = orjson.loads(line)
    return said["custom_id"], ChatCompletion.construct(**said["response"]["body"])
