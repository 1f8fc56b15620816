"""Answers of providers: whether one is well-formed, what it holds, which tokens it states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from ai_services.llm.protocol.usage import Usage
from shared.errors import UpstreamError

# Why a provider's own count is not taken: it says none, none that can be read, one below nothing,
# more than the worst case, or one that can't be (nothing though there is something).
Doubt = Literal["missing", "malformed", "negative", "excessive", "absurd"]
_SHOWN: Final = 60  # characters of a code
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers. `text` is all that the model wrote for it: content, reasoning, refusal and
    tool calls; `refusal` what it says instead of an answer ('' if it does answer).
    """

    index: int
    text: str
    refusal: str
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A chat completion. `document` is the whole body; `usage` what it says of it, unchecked."""

    choices: Sequence[Choice]
    usage: object
    document: dict[str, Any] = field(repr=False)

    @property
    def text(self) -> str:
        """All that was written, for counting it."""
        return "\n".join(choice.text for choice in self.choices)

    @property
    def is_refused(self) -> bool:
        """Whether no choice answers: refused by the model or kept back by the provider's filter."""
        return all(
            choice.refusal or choice.finish_reason == "content_filter" for choice in self.choices
        )

    @property
    def is_filtered(self) -> bool:
        """Whether the provider's filter keeps back every choice."""
        return all(choice.finish_reason == "content_filter" for choice in self.choices)


def read_answer(body: bytes) -> Answer:
    """UpstreamError that says what is wrong for anything but a chat completion."""
    document = read_object(body)
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _not_one("choices is missing or empty")
    found = [_choice(place, one) for place, one in enumerate(choices)]
    return Answer(found, document.get("usage"), document)


def read_embeddings_answer(body: bytes, count: int) -> dict[str, Any]:
    """The document of an embeddings answer with `count` vectors; UpstreamError for anything else."""
    document = read_object(body)
    data = document.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise _not_one(f"data doesn't have the {count} vectors that were asked for")
    for place, one in enumerate(data):
        vector = one.get("embedding") if isinstance(one, dict) else None
        if not isinstance(vector, str | list) or not vector:
            raise _not_one(f"data.{place}.embedding is missing")
    return document


def read_object(body: bytes | str) -> dict[str, Any]:
    """The object that a provider sent; UpstreamError for what is none, or says that it failed."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_one("it is not JSON") from error
    if not isinstance(document, dict):
        raise _not_one("it is not an object")
    if document.get("error") and not document.get("choices"):
        raise UpstreamError(f"The provider failed in its answer{_code_of(document)}.")
    return document


def _code_of(document: Mapping[str, Any]) -> str:
    """The code of its error. Its words may hold what was sent: they are for no log."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return f" ({code[:_SHOWN]})" if isinstance(code, str) and code else ""


def written_in(message: Mapping[str, Any]) -> Iterator[str]:
    """All texts that a model wrote into a message, or into the piece of one that a stream brings."""
    for name in _TEXTS:
        value = message.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            parts = (part.get("text") for part in value if isinstance(part, dict))
            yield from (part for part in parts if isinstance(part, str))
    calls = message.get("tool_calls")
    listed = calls if isinstance(calls, list) else ()
    functions = [one.get("function") for one in listed if isinstance(one, dict)]
    for function in [*functions, message.get("function_call"), message.get("audio")]:
        if isinstance(function, dict):
            texts = (function.get(name) for name in ("name", "arguments", "transcript"))
            yield from (text for text in texts if isinstance(text, str))


def believed(stated: object, worst: Usage, *, has_text: bool) -> Usage | Doubt:
    """The usage that a provider states, or why it is not taken.

    `worst` is what the request was reserved with; `has_text` says that something was written.
    """
    if stated is None:
        return "missing"
    if not isinstance(stated, dict):
        return "malformed"
    read = [
        stated.get("prompt_tokens"),
        # Embeddings have none.
        0 if stated.get("completion_tokens") is None else stated["completion_tokens"],
        _first(stated, "prompt_tokens_details", "cached_tokens", "prompt_cache_hit_tokens"),
        _first(stated, "completion_tokens_details", "reasoning_tokens"),
    ]
    if any(not isinstance(one, int) or isinstance(one, bool) for one in read):
        return "missing" if read[0] is None else "malformed"
    if min(read) < 0:
        return "negative"
    usage = Usage(*read)
    if usage.input > worst.input or usage.output > worst.output:
        return "excessive"
    is_possible = (
        usage.input > 0
        and usage.cached <= usage.input
        and usage.reasoning <= usage.output
        and (usage.output > 0 or not has_text)
    )
    return usage if is_possible else "absurd"


def _first(stated: Mapping[str, Any], details: str, name: str, *names: str) -> Any:
    """A count of the details, or where a provider has it else; 0 where it says nothing of it."""
    inside = stated.get(details)
    places = [inside.get(name) if isinstance(inside, dict) else None, stated.get(name)]
    places += [stated.get(one) for one in names]
    return next((one for one in places if one is not None), 0)


def _choice(place: int, choice: object) -> Choice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise _not_one(f"choices.{place}.message is missing")
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise _not_one(f"choices.{place}.finish_reason is no text")
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise _not_one(f"choices.{place}.message.content is no text")
    refusal = message.get("refusal")
    index = choice.get("index")
    return Choice(
        index if isinstance(index, int) else place,
        "".join(written_in(message)),
        refusal if isinstance(refusal, str) else "",
        reason,
    )


def _not_one(problem: str) -> UpstreamError:
    return UpstreamError(f"The provider's answer is not what was asked for: {problem}.")
