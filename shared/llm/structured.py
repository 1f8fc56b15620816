"""Answers as values of a schema: asked for, validated, repaired once, or a failure that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

import openai
from pydantic import BaseModel, ValidationError

from shared.errors import AnswerInvalid, Detail
from shared.llm.client import translated

Findings = tuple[Detail, ...]
AnswerT = TypeVar("AnswerT", bound=BaseModel)
_MOST_TOLD: Final = 20  # findings that a model is told of


@dataclass(frozen=True, slots=True)
class Structured(Generic[AnswerT]):
    """`value` is valid. `model` has answered; `is_repaired`: only when it was told what was wrong."""

    value: AnswerT
    model: str
    is_repaired: bool


async def structured(
    client: openai.AsyncOpenAI,
    schema: type[AnswerT],
    *,
    model: str,
    messages: Sequence[Any],
    **parameters: Any,
) -> Structured[AnswerT]:
    """What a model answers to `messages`, as a value of `schema`.

    An answer that doesn't fit is shown to the model with what is wrong, once. AnswerInvalid if it
    doesn't fit then either, was cut off, or is a refusal: nothing is guessed. Failures of the llm
    service are raised as our errors. `parameters` are those of a chat completion.
    """
    asked = list(messages)
    # Beside the parameters that the client knows: it would walk through all of a schema each time.
    extra = {**parameters.pop("extra_body", {}), "response_format": _format(schema)}
    findings: Findings = ()
    for is_repaired in (False, True):
        with translated():
            completion = await client.chat.completions.create(
                model=model, messages=asked, extra_body=extra, **parameters
            )
        text = _text(completion)
        try:
            value = schema.model_validate_json(text)
        except ValidationError as error:
            findings = _findings(error)
        else:
            return Structured(value, completion.model, is_repaired)
        repair = f"Your answer does not fit its schema:\n{_told(findings)}\nAnswer again, with JSON only."
        asked += [{"role": "assistant", "content": text}, {"role": "user", "content": repair}]
    raise AnswerInvalid(
        f"The model {model!r} has answered with something else than {schema.__name__}, twice: "
        f"{findings[0].field}: {findings[0].problem}.",
        details=findings,
    )


def request_of(
    schema: type[BaseModel], *, model: str, messages: Sequence[Any], **parameters: Any
) -> dict[str, Any]:
    """The body that `structured` sends first."""
    return {
        "model": model, "messages": list(messages), "response_format": _format(schema), **parameters,
    }  # fmt: skip


def value_of(schema: type[AnswerT], completion: Any) -> AnswerT:
    """Of an answer to `request_of`; AnswerInvalid as above, without a repair."""
    try:
        return schema.model_validate_json(_text(completion))
    except ValidationError as error:
        findings = _findings(error)
        raise AnswerInvalid(
            f"The model has answered with something else than {schema.__name__}: "
            f"{findings[0].field}: {findings[0].problem}.",
            details=findings,
        ) from error


@cache  # describing a schema takes pydantic tens of milliseconds
def _format(schema: type[BaseModel]) -> Any:
    described = {"name": schema.__name__, "schema": _strict(schema.model_json_schema())}
    return {"type": "json_schema", "json_schema": {**described, "strict": True}}


def _strict(node: Any) -> Any:
    """A schema as strict decoding takes it: each object has all its properties and no others."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    strict = {name: _strict(one) for name, one in node.items()}
    properties = node.get("properties")
    if node.get("type") == "object" and isinstance(properties, Mapping):
        strict["properties"] = {
            name: {key: value for key, value in _strict(one).items() if key != "default"}
            for name, one in properties.items()
        }
        strict |= {"required": list(properties), "additionalProperties": False}
    return strict


def _text(completion: Any) -> str:
    choice = completion.choices[0]
    if choice.message.refusal:
        raise AnswerInvalid(f"The model refuses to answer: {choice.message.refusal[:200]}")
    if choice.finish_reason in ("length", "content_filter"):
        reason = "at its longest" if choice.finish_reason == "length" else "by a content filter"
        raise AnswerInvalid(f"The model's answer was cut off {reason}.")
    return choice.message.content or ""


def _findings(error: ValidationError) -> Findings:
    return tuple(
        Detail(".".join(map(str, one["loc"])) or "answer", one["msg"], "answer by the schema")
        for one in error.errors(include_url=False, include_input=False)[:_MOST_TOLD]
    )


def _told(findings: Findings) -> str:
    return "\n".join(f"- {one.field}: {one.problem}" for one in findings)
