"""One attempt under way: reserved before it is made, settled after, however that comes about.

It is charged with

    the provider said how many tokens it took       its price (source `provider`)
    it said nothing, or what can't be               tokens as counted here (`counted`)
    it said more than what was reserved             the worst case, as reserved (`estimate`)
    a stream broke off, or its client went away     what had come until then, counted (`counted`);
                                                    the worst case of a model that reasons
    it may have answered, nothing is known          the worst case (`estimate`)
    it refused, or was never reached                nothing (`none`)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Self
from uuid import UUID, uuid4

import structlog

from ai_services.llm.asking.charge import COUNTED, Terms
from ai_services.llm.asking.course import Candidate
from ai_services.llm.asking.limits import Limits, Over, Taken
from ai_services.llm.asking.question import Asker, Chunks, Question, Read
from ai_services.llm.asking.rates import of_client, of_provider, places
from ai_services.llm.metrics import LlmMetrics
from ai_services.llm.models.catalogue import Catalogue
from ai_services.llm.protocol.usage import Usage
from ai_services.llm.providers.client import Providers
from ai_services.llm.providers.health import Health
from ai_services.llm.providers.outcome import ProviderFailure
from ai_services.llm.spend.attempt import Attempt, Outcome, Settlement, Source
from ai_services.llm.spend.ledger import Ledger
from shared.errors import InvalidInput, NoPrice, TooManyRequests, UpstreamError

_LEASE_SPARE_S: Final = 30.0  # beyond the longest time that an attempt may take
_NOTHING: Final = Usage()
_LEFT_S: Final = 0.25
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with."""

    providers: Providers
    ledger: Ledger
    health: Health
    limits: Limits
    metrics: LlmMetrics


class RunningAttempt:
    """One attempt: reserved on entry, settled on exit, however that comes about.

    `counted`: the client's rates have its request from an attempt before. `asked`: its provider was.
    """

    def __init__(
        self,
        means: Means,
        asker: Asker,
        question: Question,
        candidate: Candidate,
        catalogue: Catalogue,
        parent: UUID | None,
        *,
        counted: bool,
    ) -> None:
        self._means = means
        self._asker = asker
        self._question = question
        self._candidate = candidate
        self._catalogue = catalogue
        self._parent = parent
        self._counted = counted
        self.asked = False
        self._held: AsyncExitStack | None = None  # the place at the provider
        self._taken: Taken | None = None
        self._attempt: Attempt | None = None
        self._terms: Terms | None = None
        self._started = 0.0
        self._first_ms: int | None = None
        self._reading: Chunks | None = None
        self._settlement: tuple[Usage, Decimal, Outcome, Source] | None = None

    @property
    def attempt_id(self) -> UUID | None:
        return None if self._attempt is None else self._attempt.attempt_id

    @property
    def _of(self) -> tuple[str, str]:
        deployment = self._candidate.deployment
        return deployment.provider.name, deployment.model

    async def __aenter__(self) -> Self:
        if self._means.health.open(*self._of):
            said = f"The provider {self._of[0]} has failed too often just now."
            raise ProviderFailure("open", "error", said)
        model, deployment = self._candidate.model, self._candidate.deployment
        try:
            price = self._catalogue.price(model, datetime.now(UTC).date())
            worst = self._question.worst_case(model)
        except (NoPrice, InvalidInput) as error:
            raise ProviderFailure("setup", "error", error.message) from error
        asker = self._asker
        attempt = Attempt(
            uuid4(), asker.request_id, self._parent, asker.org_id, asker.subject, asker.purpose,
            deployment.provider.name, model.name, price.version, worst, price.cost(worst),
            deployment.provider.total_s + _LEASE_SPARE_S, asker.prompt_version,
        )  # fmt: skip
        try:
            await self._keep_rates(worst)
            await self._means.ledger.reserve(attempt)
            self._attempt = attempt
            self._terms = Terms(worst, self._question.input_estimate, price)
            self._started = time.monotonic()
            await self._take_place()
        except BaseException as error:
            if self._attempt is not None:
                outcome = error.outcome if isinstance(error, ProviderFailure) else "cancelled"
                self._settle(_NOTHING, outcome, "none", cost=Decimal(0))
            await self._let_go()
            raise
        self.asked = True
        return self

    async def _keep_rates(self, worst: Usage) -> None:
        """Within the rates of the provider and the client; a client's request counts once."""
        asker = self._asker
        purpose = self._catalogue.purpose(asker.purpose)
        of_its = of_client(asker.org_id, asker.subject, purpose, self._catalogue.limits)
        if self._counted:
            of_its = [rate for rate in of_its if rate.unit == "tokens"]
        rates = (*of_provider(self._candidate.deployment.provider), *of_its)
        tokens = 0
        if any(rate.unit == "tokens" for rate in rates):
            tokens = self._question.input_estimate + worst.output
        taken = await self._means.limits.take(rates, tokens)
        if isinstance(taken, Over):
            raise _over(taken)
        self._taken = taken

    async def _take_place(self) -> None:
        """A place at the provider, last of all: nobody holds one while he waits for money."""
        wanted = places(self._candidate.deployment.provider)
        if wanted is not None:
            self._held = AsyncExitStack()
            full = await self._held.enter_async_context(self._means.limits.place(wanted))
            if full is not None:
                raise _over(full)
        if not self._means.health.admits(*self._of):  # somebody else probes by now
            raise ProviderFailure("open", "error", f"The provider {self._of[0]} is being probed.")

    async def _let_go(self, tokens: int | None = None) -> None:
        """Give the place back, and of the rates what was taken beyond `tokens`.

        None: nothing was asked of the model, so all of it.
        """
        if self._held is not None:
            await self._held.aclose()
        if self._taken is None or not self._taken.buckets:
            return
        if tokens is None:
            await self._means.limits.give_back(self._taken)
        else:
            await self._means.limits.correct(self._taken, tokens)

    async def ask(self, read: Callable[[bytes], Read]) -> Read:
        assert self._attempt is not None
        deployment = self._candidate.deployment
        body = self._question.for_provider(deployment.model)
        answer = await self._means.providers.whole(
            deployment, self._question.path, body, self._attempt.attempt_id
        )
        try:
            found = read(answer)
        except UpstreamError as error:
            self._count(answer[:COUNTED].decode(errors="replace"), "invalid")
            raise ProviderFailure(
                "unavailable", "invalid", error.message, billed=True, begun=True
            ) from error
        self._charge(found.usage, found.text, "refused" if found.refused else "ok")
        return found

    async def read(self, reading: Chunks) -> AsyncGenerator[list[bytes], None]:
        assert self._attempt is not None
        self._reading = reading
        deployment = self._candidate.deployment
        body = self._question.for_provider(deployment.model)
        async with self._means.providers.stream(
            deployment, self._question.path, body, self._attempt.attempt_id
        ) as parts:
            try:
                async for part in parts:
                    events = reading.feed(part)
                    if events:
                        self._begins()
                        yield events
                    if reading.is_done:
                        break
                events = reading.rest()
            except ProviderFailure:
                raise
            except UpstreamError as error:
                raise ProviderFailure(
                    "unavailable", "broken", error.message, billed=True, begun=True
                ) from error
            self._charge(reading.usage, reading.text, "refused" if reading.is_refused else "ok")
            if events:
                self._begins()
                yield events
            await _to_its_end(parts)

    def _begins(self) -> None:
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if self._settlement is None:
            self._failed(error)
        self._judge(error)
        assert self._settlement is not None
        usage, cost, outcome, source = self._settlement
        self._settle(usage, outcome, source, cost=cost)
        await self._let_go(usage.input + usage.output)

    def _charge(self, stated: object, text: str, outcome: Outcome) -> None:
        """By what the provider states, as far as that can be true."""
        assert self._terms is not None
        charge = self._terms.charged(stated, text)
        if charge.doubt not in (None, "missing"):
            of = {"provider": self._of[0], "model": self._of[1]}
            log.warning("usage not believed", why=charge.doubt, **of)
        self._settlement = charge.usage, charge.cost, outcome, charge.source

    def _count(self, text: str, outcome: Outcome) -> None:
        assert self._terms is not None
        charge = self._terms.counted(text)
        self._settlement = charge.usage, charge.cost, outcome, charge.source

    def _failed(self, error: BaseException | None) -> None:
        assert self._attempt is not None
        failure = error if isinstance(error, ProviderFailure) else None
        outcome: Outcome = failure.outcome if failure is not None else "error"
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            outcome = "cancelled"
        streams = self._reading is not None and (
            self._first_ms is not None or outcome == "cancelled"
        )
        # What a model thinks isn't streamed, and is charged all the same.
        if streams and self._reading is not None and not self._candidate.model.reasoning:
            self._count(self._reading.text, outcome)
        elif failure is not None and not failure.billed:
            self._settlement = _NOTHING, Decimal(0), outcome, "none"
        else:
            self._settlement = self._attempt.tokens, self._attempt.cost, outcome, "estimate"

    def _judge(self, error: BaseException | None) -> None:
        """What the circuit learns of it."""
        if error is None:
            self._means.health.succeeded(*self._of)
        elif isinstance(error, ProviderFailure) and error.kind == "unavailable":
            self._means.health.failed(*self._of)
        else:
            self._means.health.said_nothing(*self._of)
        self._means.metrics.circuit(*self._of, is_open=self._means.health.open(*self._of))

    def _settle(self, usage: Usage, outcome: Outcome, source: Source, *, cost: Decimal) -> None:
        assert self._attempt is not None
        settlement = Settlement(usage, cost, self._elapsed_ms(), self._first_ms, outcome, source)
        self._means.ledger.settle_later(self._attempt, settlement)
        self._means.metrics.ended(self._candidate.deployment, settlement)

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)


async def _to_its_end(parts: AsyncIterator[bytes]) -> None:
    """Read what is left after the answer, nothing mostly: a connection is used again only then."""
    with suppress(TimeoutError, ProviderFailure):
        async with asyncio.timeout(_LEFT_S):
            async for _ in parts:
                pass


def _over(over: Over) -> Exception:
    """A provider's limit sends the request elsewhere, a client's ends it."""
    said = f"Over the limit of {over.limit.text}."
    if over.limit.scope == "provider":
        return ProviderFailure("limited", "rate_limited", said, over.retry_after)
    return TooManyRequests(said, retry_after=over.retry_after)
