"""Placeholders such as [PHONE_1] in place of personal data, before a request is sent.

The same value has the same placeholder within a request, so that a model can tell people apart and
repeat them. A number is used that stands nowhere in the request: what a client has written like a
placeholder is never taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final, get_args

import orjson

from ai_services.llm.privacy.personal import Found, Kind, personal_data
from ai_services.llm.privacy.texts import Place, is_of_call, with_texts
from ai_services.llm.protocol.request import ChatRequest

Placeholders = Mapping[str, str]  # the values by their placeholders
_LIKE_ONE: Final = re.compile(rf"\[(?:{'|'.join(get_args(Kind))})_[0-9]+\]")
_START: Final = 6  # characters; no value has less


def mask_chat(request: ChatRequest) -> tuple[ChatRequest, Placeholders]:
    """The request with placeholders in all texts of its messages. Nothing else is changed; without
    personal data in them, nothing at all.
    """
    texts: list[str] = []

    def keep(place: Place, text: str) -> str:
        texts.append(_spelled_out(text) if is_of_call(place) else text)
        return text

    for message in request.messages:
        with_texts(message, keep)
    masked, placeholders = _masked(texts, lambda: orjson.dumps(request.document).decode())
    if not placeholders:
        return request, {}
    fresh = iter(masked)
    messages = [with_texts(one, lambda _place, _text: next(fresh)) for one in request.messages]
    return request.with_messages(messages), placeholders


def mask_texts(texts: Sequence[str]) -> list[str]:
    """Texts to be embedded: with placeholders for good, each as if it had come alone."""
    return [_masked([text])[0][0] for text in texts]


def _spelled_out(arguments: str) -> str:
    """The same JSON without escapes, which could hide digits."""
    if "\\u" not in arguments:
        return arguments
    try:
        return orjson.dumps(orjson.loads(arguments)).decode()
    except orjson.JSONDecodeError:
        return arguments


def _masked(
    texts: Sequence[str], whole: Callable[[], str] = str
) -> tuple[list[str], dict[str, str]]:
    """The texts with placeholders that occur neither there nor in `whole`, and their values."""
    found = [personal_data(text) for text in texts]
    if not any(found):
        return list(texts), {}
    used = set(_LIKE_ONE.findall(whole())).union(*map(_LIKE_ONE.findall, texts))
    numbers = {kind: count(1) for kind in get_args(Kind)}
    names: dict[str, str] = {}
    for text, several in zip(texts, found, strict=True):
        for one in several:
            value = text[one.start : one.end]
            if value not in names:
                fresh = (f"[{one.kind}_{number}]" for number in numbers[one.kind])
                names[value] = next(name for name in fresh if name not in used)
    values = _Values(names)
    masked = [values.replaced(text, one) for text, one in zip(texts, found, strict=True)]
    return masked, {name: value for value, name in names.items()}


class _Values:
    """The values of a request with their placeholders."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._by_start: dict[str, list[str]] = {}
        for value in sorted(names, key=len, reverse=True):
            self._by_start.setdefault(value[:_START], []).append(value)
        # Where one could begin: by the characters that any of them has at each place.
        places = (
            "".join(map(re.escape, sorted(set(one)))) for one in zip(*self._by_start, strict=True)
        )
        self._maybe = re.compile("".join(f"[{characters}]" for characters in places))

    def replaced(self, text: str, found: Iterable[Found]) -> str:
        """A text with placeholders where values were found, and wherever else they stand."""
        pieces, at = list[str](), 0
        for one in found:
            pieces += [*self._in_rest(text[at : one.start]), self._names[text[one.start : one.end]]]
            at = one.end
        return "".join([*pieces, *self._in_rest(text[at:])])

    def _in_rest(self, text: str) -> list[str]:
        """Values are not found within longer numbers, and would be sent there."""
        pieces, at, place = list[str](), 0, 0
        while match := self._maybe.search(text, place):
            place = match.start()
            several = self._by_start.get(match[0], ())
            value = next((one for one in several if text.startswith(one, place)), None)
            if value is None:
                place += 1
                continue
            pieces += [text[at:place], self._names[value]]
            at = place = place + len(value)
        return [*pieces, text[at:]]
