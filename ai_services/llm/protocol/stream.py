"""A streamed chat completion, chunk by chunk: what it has said so far, and what the client gets."""

from __future__ import annotations

from typing import Any, Final

from ai_services.llm.protocol.answer import read_object, written_in
from ai_services.llm.protocol.sse import Event
from shared.errors import UpstreamError

_LONGEST: Final = 16 << 20  # characters in all; a million tokens have about 4 million

Chunk = dict[str, Any]


class ChatStream:
    """Of one answer. `usage` is what the provider stated last, unchecked; `is_done` after [DONE]."""

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._texts: dict[int, list[str]] = {}
        self._length = 0
        self.finish_reasons: dict[int, str] = {}
        self.refusals: dict[int, str] = {}
        self.usage: object = None
        self.is_done = False

    def take(self, event: Event) -> Chunk | None:
        """The chunk that the client gets; None if it gets nothing of this event.

        What tells the usage is kept back from a client that hasn't asked for it. UpstreamError for
        what is no chunk, for a failure that the provider tells in band, and beyond all bounds.
        """
        if self.is_done or event.is_done:
            self.is_done = True
            return None
        chunk = read_object(event.data)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise UpstreamError("The provider's stream holds something that is no chunk.")
        for choice in choices:
            self._note(choice)
        if chunk.get("usage") is not None:
            self.usage = chunk["usage"]
            if not self._wants_usage and not choices:
                return None
        if not self._wants_usage:
            chunk.pop("usage", None)
        return chunk

    @property
    def is_finished(self) -> bool:
        """Whether each choice that has begun has ended: a stream that ends before is broken."""
        return bool(self._texts) and self._texts.keys() == self.finish_reasons.keys()

    @property
    def is_refused(self) -> bool:
        """Whether no choice answers."""
        return bool(self._texts) and all(
            index in self.refusals or self.finish_reasons.get(index) == "content_filter"
            for index in self._texts
        )

    @property
    def text(self) -> str:
        """All that was written so far, for counting it."""
        return "\n".join("".join(self._texts[index]) for index in sorted(self._texts))

    def _note(self, choice: object) -> None:
        index = choice.get("index", 0) if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(index, int):
            raise UpstreamError("The provider's stream holds a choice that is none.")
        delta, reason = choice.get("delta"), choice.get("finish_reason")
        written = self._texts.setdefault(index, [])
        if isinstance(delta, dict):
            for text in written_in(delta):
                written.append(text)
                self._length += len(text)
            refusal = delta.get("refusal")
            if isinstance(refusal, str) and refusal:
                self.refusals[index] = self.refusals.get(index, "") + refusal
        if isinstance(reason, str):
            self.finish_reasons[index] = reason
        if self._length > _LONGEST:
            raise UpstreamError(f"The provider's stream has more than {_LONGEST} characters.")
