"""Endpoints of the llm service: those that OpenAI's clients call, batches, spending and settings."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sanic.response import HTTPResponse

from ai_services.llm import answering, batch_routes, schemas, settings_routes, spend_routes
from ai_services.llm.asking.completions import Wishes
from ai_services.llm.asking.question import Asker
from ai_services.llm.protocol.request import read_chat, read_embeddings
from ai_services.llm.request_headers import prompt_version_of, purpose_of, wishes_of
from ai_services.llm.state import State
from shared.serving.service import Call, Endpoint

_BODY_LIMIT: Final = 16 << 20  # bytes: images travel in bodies


async def chat(call: Call[State]) -> HTTPResponse:
    return await answering.chat(call, _asker(call), call.body, _wishes(call))


async def embeddings(call: Call[State]) -> HTTPResponse:
    completion = await call.state.completions.embed(_asker(call), call.body, _wishes(call))
    return answering.completed(completion, call.request_id)


async def list_models(call: Call[State]) -> HTTPResponse:
    return answering.document(schemas.ModelsOut.of(call.state.models.catalogue), call.request_id)


async def get_model(call: Call[State]) -> HTTPResponse:
    model = call.state.models.catalogue.model(call.params["model"])
    return answering.document(schemas.ModelOut.of(model), call.request_id)


def _asker(call: Call[State]) -> Asker:
    headers = call.request.headers
    return Asker(
        call.org_id,
        call.principal.subject,
        purpose_of(headers),
        UUID(call.request_id),
        prompt_version_of(headers),
    )


def _wishes(call: Call[State]) -> Wishes:
    return wishes_of(call.request.headers, len(call.request.body))


endpoints: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/v1/chat/completions", chat, "llm:use",
        "Chat with a model, as OpenAI's API has it; stream: true for server-sent events",
        body=schemas.ChatIn, returns=schemas.ChatOut, parse=read_chat, enveloped=False,
        failed=answering.failed, failure_schema="OpenAIError", body_limit=_BODY_LIMIT, tags=("llm",),
    ),
    Endpoint(
        "POST", "/v1/embeddings", embeddings, "llm:use",
        "Vectors of texts, as OpenAI's API has it",
        body=schemas.EmbeddingsIn, returns=schemas.EmbeddingsOut, parse=read_embeddings,
        enveloped=False, failed=answering.failed, failure_schema="OpenAIError", body_limit=_BODY_LIMIT, tags=("llm",),
    ),
    Endpoint(
        "GET", "/v1/models", list_models, "llm:use", "The models that can be asked",
        returns=schemas.ModelsOut, enveloped=False, failed=answering.failed, failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "GET", "/v1/models/{model}", get_model, "llm:use", "One model",
        returns=schemas.ModelOut, enveloped=False, failed=answering.failed, failure_schema="OpenAIError", tags=("llm",),
    ),
    *batch_routes.endpoints,
    *spend_routes.endpoints,
    *settings_routes.endpoints,
]  # fmt: skip
