"""From a file of requests to what is sent: each line is checked, masked, and bounded by its worst case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson

from ai_services.llm.asking.openai_requests import ChatQuestion, EmbeddingsQuestion
from ai_services.llm.batches.batch import Endpoint, Line
from ai_services.llm.models.catalogue import Catalogue, Deployment, Model
from ai_services.llm.privacy.mask import Placeholders, mask_chat, mask_texts
from ai_services.llm.protocol.request import chat_of, embeddings_of, read_document
from shared.errors import InvalidInput, MalformedRequest, NoModel, NotFound

MOST_LINES: Final = 10_000
_LONGEST_ID: Final = 512
_KINDS: Final = {"/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes to the provider. `placeholders` are those of the lines that have any, by attempt."""

    model: Model
    deployment: Deployment
    lines: list[Line]
    outgoing: bytes
    placeholders: Mapping[str, Placeholders]


def planned(content: bytes, endpoint: Endpoint, catalogue: Catalogue, *, masking: bool) -> Plan:
    """InvalidInput that names the line and the field for the first that can't be asked."""
    requests = _requests(content, endpoint)
    model = _model(requests, catalogue, endpoint)
    deployment = _deployment(model)
    masking = masking and not deployment.provider.local
    lines, outgoing = list[Line](), list[bytes]()
    placeholders: dict[str, Placeholders] = {}
    for number, custom_id, body in requests:
        try:
            question, hidden = _question(body, endpoint, masking=masking)
            worst = question.worst_case(model)
        except InvalidInput as error:
            raise _of_line(number, error, "body.") from error
        line = Line(uuid4(), custom_id, worst, question.input_estimate)
        lines.append(line)
        if hidden:
            placeholders[str(line.attempt_id)] = hidden
        sent = orjson.Fragment(question.for_provider(deployment.model))
        outgoing.append(
            orjson.dumps(
                {"custom_id": str(line.attempt_id), "method": "POST", "url": endpoint, "body": sent}
            )
        )
    return Plan(model, deployment, lines, b"\n".join(outgoing) + b"\n", placeholders)


def _requests(content: bytes, endpoint: Endpoint) -> list[tuple[int, str, dict[str, Any]]]:
    """(number of the line, its custom_id, its body); empty lines count and hold nothing."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    ids: dict[str, int] = {}
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        if len(found) == MOST_LINES:
            raise InvalidInput.of(
                "input_file_id", f"the file has more than {MOST_LINES} requests", "send several"
            )
        try:
            custom_id, body = _read(raw, endpoint)
        except InvalidInput as error:
            raise _of_line(number, error) from error
        if custom_id in ids:
            problem = f"{custom_id[:60]!r} is that of line {ids[custom_id]}, too"
            raise InvalidInput.of(f"line {number}: custom_id", problem, "send each once")
        ids[custom_id] = number
        found.append((number, custom_id, body))
    if not found:
        raise InvalidInput.of("input_file_id", "the file is empty", "send a request on each line")
    return found


def _read(raw: bytes, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
    document = read_document(raw)
    custom_id, body = document.get("custom_id"), document.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _LONGEST_ID or "\0" in custom_id:
        fix = f"send 1 to {_LONGEST_ID} characters, other ones on each line"
        raise InvalidInput.of("custom_id", "is no text of that length", fix)
    for name, wanted in (("method", "POST"), ("url", endpoint)):
        if document.get(name) != wanted:
            raise InvalidInput.of(name, "is not that of the batch", f"send {wanted}")
    if not isinstance(body, dict):
        raise InvalidInput.of("body", "is not an object", "send the request")
    if body.get("stream"):
        raise InvalidInput.of("body.stream", "answers of a batch are whole", "leave it out")
    return custom_id, body


def _model(
    requests: list[tuple[int, str, dict[str, Any]]], catalogue: Catalogue, endpoint: Endpoint
) -> Model:
    """All lines ask the same one."""
    first, _, body = requests[0]
    name = body.get("model")
    for number, _, other in requests:
        if not isinstance(other.get("model"), str) or other["model"] != name:
            problem = f"is not that of line {first}: a batch asks one model"
            raise InvalidInput.of(f"line {number}: body.model", problem, "send several batches")
    try:
        model = catalogue.model(str(name))
    except NoModel:
        raise
    except NotFound as error:
        fix = "name one that GET /v1/models lists"
        raise InvalidInput.of(f"line {first}: body.model", "is no model here", fix) from error
    if model.kind != _KINDS[endpoint]:
        problem = f"{name!r} is a model for {model.kind}"
        raise InvalidInput.of(f"line {first}: body.model", problem, "name another, or endpoint")
    return model


def _deployment(model: Model) -> Deployment:
    """Where the batch goes: of the model's providers that take batches, that of the largest weight."""
    taking = [one for one in model.deployments if one.provider.batch]
    if not taking:
        problem = f"no provider of the model {model.name!r} takes batches"
        fix = "ask each request alone, or ask the operator for `batch = true` in the models file"
        raise InvalidInput.of("model", problem, fix)
    return max(taking, key=lambda one: one.weight)


def _question(
    body: dict[str, Any], endpoint: Endpoint, *, masking: bool
) -> tuple[ChatQuestion | EmbeddingsQuestion, Placeholders]:
    if endpoint == "/v1/embeddings":
        embedding = embeddings_of(body)
        texts = [one for one in embedding.inputs if isinstance(one, str)]
        if masking and texts:
            embedding = embedding.with_inputs(mask_texts(texts))
        return EmbeddingsQuestion(embedding), {}
    chat, hidden = chat_of(body), dict[str, str]()
    if not masking:
        return ChatQuestion(chat), hidden
    masked, placeholders = mask_chat(chat)
    return ChatQuestion(masked), placeholders


def _of_line(number: int, error: InvalidInput, within: str = "") -> InvalidInput:
    """The same, of a line."""
    if isinstance(error, MalformedRequest) or not error.details:
        return InvalidInput.of(f"line {number}", error.message, "send a JSON object on each line")
    first = error.details[0]
    return InvalidInput.of(f"line {number}: {within}{first.field}", first.problem, first.fix)
