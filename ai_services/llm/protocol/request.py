"""Bodies that clients send: what we need of them is checked, the rest goes on as it is.

A body is written anew with the same values, so that what the provider reads is what was checked
here: of a key that is given twice the last one, and no byte that a lenient parser takes otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

import orjson

from shared.errors import InvalidInput, MalformedRequest
from shared.json_document import MAX_DEPTH, is_deep, malformed, read_json

Document = dict[str, Any]
_MOST_CHOICES: Final = 16
_MOST_INPUTS: Final = 2048
_LONGEST_MODEL: Final = 200


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asks of a chat model. `document` is the whole body, nothing of it dropped.

    `wants_usage`: the client has asked for the usage at the end of the stream. `max_tokens` is the
    larger of the two bounds that a body may have, None without one.
    """

    model: str
    messages: Sequence[Document]
    stream: bool
    wants_usage: bool
    max_tokens: int | None
    n: int
    document: Document = field(repr=False)

    def output_bound(self, max_output: int) -> int:
        """The most tokens that all choices together can have, of a model with `max_output`.

        InvalidInput (max_tokens) if the client asks for more than the model can give.
        """
        if self.max_tokens is None:
            return self.n * max_output
        if self.max_tokens > max_output:
            name = max(_BOUNDS, key=lambda one: self.document.get(one) or 0)
            raise InvalidInput.of(
                name,
                f"is {self.max_tokens}, and the model {self.model!r} answers with {max_output} "
                "tokens at most",
                f"send {max_output} or less, or leave it out",
            )
        return self.n * self.max_tokens

    def with_messages(self, messages: Sequence[Document]) -> ChatRequest:
        """The same request with other messages."""
        return replace(
            self, messages=messages, document={**self.document, "messages": list(messages)}
        )

    def for_provider(self, model: str) -> bytes:
        """The body to send: with the provider's name of the model; a stream ends with its usage."""
        document = {**self.document, "model": model}
        if self.stream:
            options = document.get("stream_options") or {}
            document["stream_options"] = {**options, "include_usage": True}
        return orjson.dumps(document)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """What a client asks of an embeddings model: `inputs` are texts, or lists of token numbers."""

    model: str
    inputs: Sequence[str] | Sequence[Sequence[int]]
    document: Document = field(repr=False)

    def with_inputs(self, inputs: Sequence[str]) -> EmbeddingsRequest:
        """The same request for other texts, as many."""
        return replace(self, inputs=inputs, document={**self.document, "input": list(inputs)})

    def for_provider(self, model: str) -> bytes:
        """The body to send: with the provider's name of the model."""
        return orjson.dumps({**self.document, "model": model})


def read_chat(body: bytes) -> ChatRequest:
    """A chat completion request. MalformedRequest for what is no JSON, InvalidInput that names the
    field for a value that can't be taken.
    """
    return chat_of(read_document(body))


def chat_of(document: Document) -> ChatRequest:
    """The same of a body that is read."""
    _check_for_provider(document)
    options = _object(document, "stream_options") or {}
    bounds = [_whole(document, name, 1) for name in _BOUNDS]
    return ChatRequest(
        model=_model(document),
        messages=_messages(document),
        stream=_flag(document, "stream"),
        wants_usage=_flag(options, "include_usage", within="stream_options."),
        max_tokens=max((bound for bound in bounds if bound is not None), default=None),
        n=_whole(document, "n", 1, _MOST_CHOICES) or 1,
        document=document,
    )


def read_embeddings(body: bytes) -> EmbeddingsRequest:
    """An embeddings request; errors as those of `read_chat`."""
    return embeddings_of(read_document(body))


def embeddings_of(document: Document) -> EmbeddingsRequest:
    """The same of a body that is read."""
    encoding = document.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidInput.of("encoding_format", "is neither of the two", "send float or base64")
    _whole(document, "dimensions", 1)
    return EmbeddingsRequest(_model(document), _inputs(document), document)


_BOUNDS: Final = ("max_tokens", "max_completion_tokens")


def read_document(body: bytes) -> Document:
    """A JSON object that isn't too deep; MalformedRequest for anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = read_json(body)  # which says what is wrong as all of our APIs do
    if not isinstance(value, dict):
        raise MalformedRequest("The body is not a JSON object. Send one.")
    if is_deep(value):
        raise malformed(f"is nested more than {MAX_DEPTH} levels deep")
    return value


def _model(document: Document) -> str:
    name = document.get("model")
    if not isinstance(name, str) or not name:
        raise InvalidInput.of("model", "is missing", "name a model, as GET /v1/models lists them")
    if len(name) > _LONGEST_MODEL:
        raise InvalidInput.of("model", "is too long", f"send {_LONGEST_MODEL} characters at most")
    return name


def _messages(document: Document) -> list[Document]:
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInput.of(
            "messages", "is missing or empty", 'send [{"role": "user", "content": "…"}]'
        )
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidInput.of(f"messages.{place}", "is not an object", "send one with a role")
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise InvalidInput.of(
                f"messages.{place}.role", "is missing", "send system, user, assistant or tool"
            )
    return messages


def _flag(document: Mapping[str, Any], name: str, *, within: str = "") -> bool:
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidInput.of(within + name, "is neither true nor false", "send true or false")


def _whole(document: Document, name: str, least: int, most: int | None = None) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    wanted = f"from {least} to {most}" if most is not None else f"of at least {least}"
    if not _is_whole(value) or value < least or (most is not None and value > most):
        raise InvalidInput.of(name, "does not fit", f"send a whole number {wanted}")
    return value


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _object(document: Document, name: str) -> Document | None:
    value = document.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise InvalidInput.of(name, "is not an object", "send an object, or leave it out")


def _check_for_provider(document: Document) -> None:
    """What the provider alone reads, as far as it costs nothing to see that it is wrong."""
    tools = document.get("tools")
    is_list = isinstance(tools, list) and all(isinstance(one, dict) for one in tools)
    if tools is not None and not is_list:
        raise InvalidInput.of("tools", "is not a list of objects", "send a list, or leave it out")
    _object(document, "response_format")
    metadata = _object(document, "metadata") or {}
    if not all(isinstance(one, str) for one in metadata.values()):
        raise InvalidInput.of("metadata", "holds a value that is no text", "send texts by name")


def _inputs(document: Document) -> list[str] | list[list[int]]:
    given = document.get("input")
    if isinstance(given, str) or _is_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given:
        raise InvalidInput.of("input", "is missing or empty", "send a text or a list of texts")
    if len(given) > _MOST_INPUTS:
        raise InvalidInput.of("input", "has too many texts", f"send {_MOST_INPUTS} at most")
    if all(isinstance(one, str) and one for one in given) or all(map(_is_tokens, given)):
        return given
    raise InvalidInput.of(
        "input",
        "holds something that is no text, or an empty one",
        "send texts that aren't empty, or lists of token numbers",
    )


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and set(map(type, value)) == {int} and min(value) >= 0
