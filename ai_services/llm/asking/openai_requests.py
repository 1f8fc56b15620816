"""Requests of clients as attempts need them, and how their answers are read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import orjson

from ai_services.llm.asking.question import Read
from ai_services.llm.models.catalogue import Model
from ai_services.llm.privacy.mask import Placeholders
from ai_services.llm.privacy.restore import StreamRestorer
from ai_services.llm.protocol.answer import read_answer, read_embeddings_answer
from ai_services.llm.protocol.request import ChatRequest, EmbeddingsRequest
from ai_services.llm.protocol.sse import DONE, Event, EventReader, written
from ai_services.llm.protocol.stream import ChatStream, Chunk
from ai_services.llm.protocol.tokens import (
    chat_bound,
    chat_estimate,
    input_bound,
    input_estimate,
)
from ai_services.llm.protocol.usage import Usage
from shared.errors import UpstreamError


class ChatQuestion:
    path: Final = "/chat/completions"

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self._bound = chat_bound(request.document)

    def for_provider(self, model: str) -> bytes:
        return self.request.for_provider(model)

    def worst_case(self, model: Model) -> Usage:
        """InvalidInput if more is asked for than the model gives."""
        return Usage(self._bound, self.request.output_bound(model.max_output))

    @cached_property
    def input_estimate(self) -> int:
        return chat_estimate(self.request.document)

    def read(self, body: bytes) -> Read:
        """UpstreamError for what is no chat completion."""
        answer = read_answer(body)
        return Read(
            answer.document, answer.usage, answer.text, answer.is_refused, answer.is_filtered
        )


class EmbeddingsQuestion:
    path: Final = "/embeddings"

    def __init__(self, request: EmbeddingsRequest) -> None:
        self.request = request
        self._bound = input_bound(request.inputs)

    def for_provider(self, model: str) -> bytes:
        return self.request.for_provider(model)

    def worst_case(self, model: Model) -> Usage:  # noqa: ARG002 - vectors are no tokens
        return Usage(self._bound, 0)

    @cached_property
    def input_estimate(self) -> int:
        return input_estimate(self.request.inputs)

    def read(self, body: bytes) -> Read:
        """UpstreamError for what holds no vector for each text."""
        document = read_embeddings_answer(body, len(self.request.inputs))
        return Read(document, document.get("usage"), "")


class ChatReading:
    """A streamed answer: its events as they go on to the client, under the model's own name."""

    def __init__(self, model: str, placeholders: Placeholders, *, wants_usage: bool) -> None:
        self._model = model
        self._restorer = StreamRestorer(placeholders)
        self._events = EventReader()
        self._stream = ChatStream(wants_usage=wants_usage)
        self._broken: UpstreamError | None = None  # raised once what came before it has gone on

    @property
    def usage(self) -> object:
        return self._stream.usage

    @property
    def text(self) -> str:
        return self._stream.text

    @property
    def is_done(self) -> bool:
        return self._stream.is_done

    @property
    def is_refused(self) -> bool:
        return self._stream.is_refused

    def feed(self, part: bytes) -> list[bytes]:
        if self._broken is not None:
            raise self._broken
        return self._taken(self._events.feed(part))

    def rest(self) -> list[bytes]:
        if self._broken is not None:
            raise self._broken
        taken = self._taken(self._events.end())
        if not self._stream.is_done and not self._stream.is_finished:
            raise UpstreamError("The provider ended its stream before its answer.")
        held_back = self._restorer.end()
        return [*taken, *([] if held_back is None else [self._written(held_back)]), DONE]

    def _taken(self, events: Iterable[Event]) -> list[bytes]:
        taken: list[bytes] = []
        for event in events:
            try:
                chunk = self._stream.take(event)
            except UpstreamError as error:
                if not taken:
                    raise
                self._broken = error
                break
            if chunk is not None:
                taken.append(self._written(self._restorer.chunk(chunk)))
        return taken

    def _written(self, chunk: Chunk) -> bytes:
        return written(orjson.dumps({**chunk, "model": self._model}))
