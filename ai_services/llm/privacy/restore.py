"""Placeholders of a request become their values again in its answer, whole or streamed.

A value holds no character that JSON escapes, so that one rule does for prose, for structured output
and for the arguments of tool calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ai_services.llm.privacy.mask import Placeholders
from ai_services.llm.privacy.texts import Place, with_texts

_LIKE_ONE: Final = re.compile(r"\[[A-Z]+_[0-9]+\]")


class Restorer:
    """Puts the values of one request's placeholders back."""

    def __init__(self, placeholders: Placeholders) -> None:
        self._values = placeholders
        self._beginnings = {name[:end] for name in placeholders for end in range(1, len(name))}
        self._longest = max(map(len, placeholders), default=0)

    def text(self, text: str) -> str:
        """A whole text; what looks like a placeholder but is none of this request stays."""
        return _LIKE_ONE.sub(lambda match: self._values.get(match[0], match[0]), text)

    def answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A whole chat completion with the values in all texts of its messages."""
        return {
            **document,
            "choices": [
                {**one, "message": with_texts(one["message"], lambda _, text: self.text(text))}
                for one in document["choices"]
            ],
        }

    def held_back(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a placeholder."""
        start = text.rfind("[", max(0, len(text) - self._longest))
        return len(text) - start if start >= 0 and text[start:] in self._beginnings else 0


class StreamRestorer:
    """The same for the chunks of a stream, wherever they cut a placeholder.

    Of each text the end is held back while it may be the beginning of a placeholder: less than the
    longest one. It goes out with what comes next, or with the end of its choice.
    """

    def __init__(self, placeholders: Placeholders) -> None:
        self._restorer = Restorer(placeholders)
        self._is_idle = not placeholders
        self._held: dict[int, dict[Place, str]] = {}  # by choice
        self._last: Mapping[str, Any] = {}

    def chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """A chunk as the client gets it."""
        if self._is_idle:
            return chunk
        self._last = {name: value for name, value in chunk.items() if name != "usage"}
        return {**chunk, "choices": [self._choice(choice) for choice in chunk["choices"]]}

    def end(self) -> dict[str, Any] | None:
        """A chunk with what is held back when the stream breaks off; None if nothing is."""
        choices = [
            {"index": index, "delta": self._with_rest(index, {}), "finish_reason": None}
            for index in sorted(index for index, held in self._held.items() if held)
        ]
        return {**self._last, "choices": choices} if choices else None

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice.get("index", 0)
        held = self._held.setdefault(index, {})

        def ready(place: Place, text: str) -> str:
            whole = held.pop(place, "") + text
            end = len(whole) - self._restorer.held_back(whole)
            if end < len(whole):
                held[place] = whole[end:]
            return self._restorer.text(whole[:end])

        given = choice.get("delta")
        delta = with_texts(given, ready) if isinstance(given, dict) else {}
        if choice.get("finish_reason") is not None:
            delta = self._with_rest(index, delta)
        return {**choice, "delta": delta} if delta or given is not None else choice

    def _with_rest(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """The delta, and behind its texts what is held back of this choice."""
        for place, rest in self._held.pop(index, {}).items():
            _append(delta, place, rest)
        return delta


def _append(delta: dict[str, Any], place: Place, rest: str) -> None:
    """Put `rest` behind the text at a place of a delta that is ours to change."""
    match place:
        case ("tool_calls", int(number), str(kind), str(name)):
            calls = [*(delta.get("tool_calls") or ()), {"index": number, kind: {name: rest}}]
            delta["tool_calls"] = calls
        case ("function_call", str(name)):
            called = delta.get("function_call") or {}
            delta["function_call"] = {**called, name: (called.get(name) or "") + rest}
        case (str(name), *_) if isinstance(delta.get(name), list):
            delta[name] = [*delta[name], {"type": "text", "text": rest}]
        case (str(name), *_):
            delta[name] = (delta.get(name) or "") + rest
