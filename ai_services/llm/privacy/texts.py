"""Where a message holds texts that people or models wrote, whole or as a piece of a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Place = tuple[str | int, ...]  # the keys and numbers that lead to a text in its message
Change = Callable[[Place, str], str]
_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
_CALLED: Final = ("function", "custom")
_ARGUMENTS: Final = ("arguments", "input")


def with_texts(message: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The message with each of its texts changed, always in the same order: contents, their text
    parts, refusals, reasoning, arguments of tool calls. A call counts by its own `index` if it has one.
    """
    changed = dict(message)
    for name in _TEXTS:
        content = message.get(name)
        if isinstance(content, str):
            changed[name] = change((name,), content)
        elif isinstance(content, list):
            changed[name] = [_part((name, at), part, change) for at, part in enumerate(content)]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        changed["tool_calls"] = [_call(at, call, change) for at, call in enumerate(calls)]
    if "function_call" in message:
        changed["function_call"] = _called(("function_call",), message["function_call"], change)
    return changed


def is_of_call(place: Place) -> bool:
    """Whether the text there is JSON: the arguments of a call."""
    return place[0] in ("tool_calls", "function_call")


def _part(place: Place, part: object, change: Change) -> object:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {**part, "text": change((*place, "text"), part["text"])}
    return part


def _call(at: int, call: object, change: Change) -> object:
    if not isinstance(call, dict):
        return call
    number = call.get("index")
    place = ("tool_calls", number if isinstance(number, int) else at)
    inner = {name: _called((*place, name), call[name], change) for name in _CALLED if name in call}
    return {**call, **inner}


def _called(place: Place, function: object, change: Change) -> object:
    if not isinstance(function, dict):
        return function
    texts = {name: function[name] for name in _ARGUMENTS if isinstance(function.get(name), str)}
    return {**function, **{name: change((*place, name), one) for name, one in texts.items()}}
