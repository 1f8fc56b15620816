"""Attempts: from a request to an answer, by the first that gives one.

Retries, fallbacks and circuits are told in course.py and providers/health.py, what an attempt is
charged with in running.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ai_services.llm.asking.course import Candidate, Course, RetryPolicy
from ai_services.llm.asking.question import Asker, Chunks, Question, Read
from ai_services.llm.asking.running import Means, RunningAttempt
from ai_services.llm.models.catalogue import Catalogue, Model
from ai_services.llm.providers.outcome import ProviderFailure
from shared.errors import (
    ContentRefused,
    ContextTooLong,
    InvalidInput,
    LoomaError,
    MalformedRequest,
    TooManyRequests,
    UpstreamError,
    UpstreamUnavailable,
)

_FILTERED: Final = "The provider's filter keeps the answer back."


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer and which model gave it."""

    read: Read
    model: Model


class Attempts:
    """`whole` or `stream`: the attempts of one request, until one brings an answer."""

    def __init__(self, means: Means, retries: RetryPolicy) -> None:
        self._means = means
        self._retries = retries

    async def whole(
        self,
        asker: Asker,
        question: Question,
        model: Model,
        catalogue: Catalogue,
        read: Callable[[bytes], Read],
    ) -> Answered:
        """The answer of the first that gives one; raises what the client shall be told.

        One that a provider's filter keeps back counts as its refusal, and is the answer where nobody
        else gives one.
        """
        course = Course(model, catalogue, self._means.health, self._retries)
        parent: UUID | None = None
        counted = False
        candidate = course.first()
        failure: ProviderFailure | None = None
        filtered: Answered | None = None
        while candidate is not None:
            if candidate.wait_s:
                await asyncio.sleep(candidate.wait_s)
            running = RunningAttempt(
                self._means, asker, question, candidate, catalogue, parent, counted=counted
            )
            try:
                async with running:
                    found = await running.ask(read)
                answered = Answered(found, candidate.model)
                if not found.filtered:
                    self._told(model, candidate)
                    return answered
                filtered = filtered or answered
                parent, counted = running.attempt_id, True
                candidate = course.after(ProviderFailure("refused", "refused", _FILTERED))
            except ProviderFailure as error:
                failure, parent = _weightier(failure, error), running.attempt_id or parent
                counted = counted or running.asked
                candidate = course.after(error)
        if filtered is not None:
            return filtered
        raise as_told(failure, model)

    async def stream(
        self,
        asker: Asker,
        question: Question,
        model: Model,
        catalogue: Catalogue,
        chunks: Callable[[Model], Chunks],
    ) -> AsyncGenerator[list[bytes], None]:
        """The events of the first that begins to answer.

        Before the first event it raises as `whole` does; after it, UpstreamError for a stream that
        breaks. Whoever stops reading must close it.
        """
        course = Course(model, catalogue, self._means.health, self._retries)
        parent: UUID | None = None
        counted = False
        candidate = course.first()
        failure: ProviderFailure | None = None
        while candidate is not None:
            if candidate.wait_s:
                await asyncio.sleep(candidate.wait_s)
            running = RunningAttempt(
                self._means, asker, question, candidate, catalogue, parent, counted=counted
            )
            reading = chunks(candidate.model)
            begun = False
            try:
                async with running, aclosing(running.read(reading)) as events:
                    async for some in events:
                        if not begun:
                            begun = True
                            self._told(model, candidate)
                        yield some
                return
            except ProviderFailure as error:
                if begun:
                    raise UpstreamError(f"{error.message} The answer is not whole.") from error
                failure, parent = _weightier(failure, error), running.attempt_id or parent
                counted = counted or running.asked
                candidate = course.after(error)
        raise as_told(failure, model)

    def _told(self, model: Model, candidate: Candidate) -> None:
        if candidate.model is not model:
            self._means.metrics.fell_back(model.name)


def _weightier(before: ProviderFailure | None, now: ProviderFailure) -> ProviderFailure:
    """That a model which stands in can't be asked for this says nothing of the one asked for."""
    if before is not None and isinstance(now.__cause__, InvalidInput):
        return before
    return now


def as_told(failure: ProviderFailure | None, model: Model) -> LoomaError:
    """What a client is told when nobody answered."""
    if failure is None:
        return UpstreamUnavailable(f"The model {model.name!r} has nobody who could be asked.")
    match failure.kind:
        case "setup" if isinstance(failure.__cause__, LoomaError):
            return failure.__cause__  # it is about our settings, such as a price, and says so
        case "context":
            problem = "the request is too long for it"
            return ContextTooLong.of(
                model.name, problem, "send less, or ask a model that reads more"
            )
        case "refused":
            return ContentRefused.of(model.name, "it will not answer this", "ask in other words")
        case "request":
            field = failure.param or "body"
            return MalformedRequest.of(field, failure.message, "see the provider's documentation")
        case "limited":
            return TooManyRequests(failure.message, retry_after=failure.retry_after or 1.0)
        case _ if failure.begun:
            return UpstreamError(failure.message)
        case _:
            return UpstreamUnavailable(failure.message, retry_after=failure.retry_after or 2.0)
