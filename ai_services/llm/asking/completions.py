"""Completions and embeddings: from a client's request to what it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import orjson

from ai_services.llm.asking.answers_cache import AnswersCache
from ai_services.llm.asking.attempts import Answered, Attempts
from ai_services.llm.asking.coalescing import Coalescing
from ai_services.llm.asking.openai_requests import ChatQuestion, ChatReading, EmbeddingsQuestion
from ai_services.llm.asking.question import Asker
from ai_services.llm.models.catalogue import Catalogue, Model, ModelKind
from ai_services.llm.organisation.settings import OrganisationSettings, Settings
from ai_services.llm.privacy.mask import Placeholders, mask_chat, mask_texts
from ai_services.llm.privacy.restore import Restorer
from ai_services.llm.protocol.cache_key import cache_key
from ai_services.llm.protocol.request import ChatRequest, EmbeddingsRequest
from shared.errors import InvalidInput

P = ParamSpec("P")
T = TypeVar("T")
_LARGE: Final = 64 << 10  # bytes of a body; reading more takes longer than others should wait


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for besides its body, of `size` bytes.

    `cache_s` None: as its purpose has it.
    """

    size: int = 0
    cache_s: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer as JSON; `cached`: no model was asked for it."""

    body: bytes
    cached: bool


class Completions:
    """The use cases behind the routes that OpenAI's clients call."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        attempts: Attempts,
        settings: Settings,
        answers: AnswersCache,
        coalescing: Coalescing[bytes],
    ) -> None:
        self._catalogue = catalogue
        self._attempts = attempts
        self._settings = settings
        self._answers = answers
        self._coalescing = coalescing

    async def chat(self, asker: Asker, request: ChatRequest, wishes: Wishes) -> Completion:
        """A whole answer, as the provider gave it, under our name of the model."""
        catalogue = self._catalogue()
        model = _model(catalogue, request.model, "chat")
        settings = await self._settings.of(asker.org_id)

        async def ask() -> tuple[bytes, bool]:
            question, placeholders = await _beside(
                wishes.size, _chat_question, request, model, catalogue, settings
            )
            answered = await self._attempts.whole(asker, question, model, catalogue, question.read)
            document = answered.read.document
            if placeholders:
                document = Restorer(placeholders).answer(document)
            return _named(document, answered), not answered.read.refused

        return await self._kept(asker, model, request.document, wishes, settings, ask)

    async def stream(
        self, asker: Asker, request: ChatRequest, wishes: Wishes
    ) -> AsyncGenerator[bytes, None]:
        """The events of an answer as bytes; what is raised before the first is the answer.

        Whoever stops reading must close it: the provider's stream ends then, and what has come is
        settled.
        """
        catalogue = self._catalogue()
        model = _model(catalogue, request.model, "chat")
        settings = await self._settings.of(asker.org_id)
        question, placeholders = await _beside(
            wishes.size, _chat_question, request, model, catalogue, settings
        )

        def reading(of: Model) -> ChatReading:
            return ChatReading(of.name, placeholders, wants_usage=request.wants_usage)

        async with aclosing(
            self._attempts.stream(asker, question, model, catalogue, reading)
        ) as events:
            async for some in events:
                yield b"".join(some)

    async def embed(self, asker: Asker, request: EmbeddingsRequest, wishes: Wishes) -> Completion:
        """Vectors for each of the texts, in their order."""
        catalogue = self._catalogue()
        model = _model(catalogue, request.model, "embeddings")
        settings = await self._settings.of(asker.org_id)

        async def ask() -> tuple[bytes, bool]:
            question = await _beside(
                wishes.size, _embeddings_question, request, model, catalogue, settings
            )
            answered = await self._attempts.whole(asker, question, model, catalogue, question.read)
            return _named(answered.read.document, answered), True

        return await self._kept(asker, model, request.document, wishes, settings, ask)

    async def _kept(
        self,
        asker: Asker,
        model: Model,
        document: Mapping[str, Any],
        wishes: Wishes,
        settings: OrganisationSettings,
        ask: Callable[[], Awaitable[tuple[bytes, bool]]],
    ) -> Completion:
        """From the answers that are kept, if this one may be; `ask` says whether it is valid.

        Where answers may be kept, identical requests in flight share one.
        """
        ttl = wishes.cache_s
        if ttl is None:
            ttl = self._catalogue().purpose(asker.purpose).cache_s
        if not ttl:
            return Completion((await ask())[0], cached=False)
        key = _key(asker, model, document)
        kept = await self._answers.get(asker.org_id, key)
        if kept is not None:
            return Completion(kept, cached=True)

        async def once() -> bytes:
            body, is_valid = await ask()
            if is_valid:
                keeping = self._answers.put(
                    asker.org_id, key, body, ttl=ttl, encrypted=settings.encrypt_answers
                )
                # Though its client has left: it is paid for, and whoever asks again has it.
                await asyncio.shield(keeping)
            return body

        # Whose limits and budgets it comes under is a part of it: they may refuse one and not another.
        shared = key + f"{asker.subject}\0{asker.purpose}".encode()
        return Completion(await self._coalescing.share(shared, once), cached=False)


def _key(asker: Asker, model: Model, document: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(cache_key(asker.org_id, model.name, document, asker.prompt_version))


def _model(catalogue: Catalogue, name: str, kind: ModelKind) -> Model:
    model = catalogue.model(name)
    if model.kind != kind:
        other = "POST /v1/embeddings" if model.kind == "embeddings" else "POST /v1/chat/completions"
        raise InvalidInput.of("model", f"{name!r} is a model for {model.kind}", f"use {other}")
    return model


def _leaves(model: Model, catalogue: Catalogue) -> bool:
    """Whether a request for this model may leave the operator's network."""
    asked = (model, *(catalogue.model(name) for name in model.fallbacks))
    return any(not one.provider.local for each in asked for one in each.deployments)


def _chat_question(
    request: ChatRequest, model: Model, catalogue: Catalogue, settings: OrganisationSettings
) -> tuple[ChatQuestion, Placeholders]:
    """As it leaves; InvalidInput for what can't be asked of the model."""
    placeholders: Placeholders = {}
    if settings.mask_personal_data and _leaves(model, catalogue):
        request, placeholders = mask_chat(request)
    question = ChatQuestion(request)
    question.worst_case(model)
    _ = question.input_estimate  # here, where a large one holds up nobody
    return question, placeholders


def _embeddings_question(
    request: EmbeddingsRequest, model: Model, catalogue: Catalogue, settings: OrganisationSettings
) -> EmbeddingsQuestion:
    if settings.mask_personal_data and _leaves(model, catalogue):
        texts = [one for one in request.inputs if isinstance(one, str)]
        request = request.with_inputs(mask_texts(texts)) if texts else request
    question = EmbeddingsQuestion(request)
    _ = question.input_estimate
    return question


async def _beside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; with a large body it is done beside the event loop."""
    if size < _LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _named(document: Mapping[str, Any], answered: Answered) -> bytes:
    return orjson.dumps({**document, "model": answered.model.name})
