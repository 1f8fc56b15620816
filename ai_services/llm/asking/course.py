"""The course of one request: which deployment is asked first, and which after a failure.

Asked are the deployments of the model, by chance according to their weights, those with an open
circuit last; then those of the models that it falls back on, if it does so for that kind of failure.
The same deployment is asked again only for what may pass soon, and only while nothing of an answer
has come.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.llm.models.catalogue import Catalogue, Deployment, Model
from ai_services.llm.providers.health import Health
from ai_services.llm.providers.outcome import ProviderFailure

_ELSEWHERE: Final = frozenset({"unavailable", "limited", "quota", "setup", "open"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    retries: int = 1  # of the same deployment
    tries: int = 6  # of all together
    base_s: float = 0.25  # before the second try; twice as long each time, half of it by chance
    longest_wait_s: float = 5.0  # of a Retry-After; longer ones send the request elsewhere


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment to ask, as one of `model`, after `wait_s` seconds."""

    model: Model
    deployment: Deployment
    wait_s: float = 0.0


class Course:
    """`first`, and `after` each failure; None: there is nobody left to ask."""

    def __init__(
        self,
        model: Model,
        catalogue: Catalogue,
        health: Health,
        policy: RetryPolicy,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._model = model
        self._health = health
        self._policy = policy
        self._chance = chance
        self._rest = self._of(model)
        self._fallbacks = iter([catalogue.model(name) for name in model.fallbacks])
        self._current: Candidate | None = None
        self._repeated = 0
        self._tries = 0

    def first(self) -> Candidate | None:
        return self._go(next(self._rest, None))

    def after(self, failure: ProviderFailure) -> Candidate | None:
        current = self._current
        if current is None or failure.begun or self._tries >= self._policy.tries:
            return None
        if failure.kind == "limited":  # who is free is asked before who is waited for
            another = next(self._rest, None)
            if another is not None:
                return self._go(another)
        wait = self._wait(failure)
        if wait is not None:
            self._repeated += 1
            self._tries += 1
            return Candidate(current.model, current.deployment, wait)
        if failure.kind in _ELSEWHERE:
            another = next(self._rest, None)
            if another is not None:
                return self._go(another)
        return self._go(self._fall_back(failure))

    def _wait(self, failure: ProviderFailure) -> float | None:
        """Seconds until the same deployment is asked again; None if it isn't."""
        policy = self._policy
        if not failure.repeatable or self._repeated >= policy.retries:
            return None
        if failure.retry_after is not None:
            return failure.retry_after if failure.retry_after <= policy.longest_wait_s else None
        return policy.base_s * 2.0**self._repeated * (0.5 + 0.5 * self._chance())

    def _fall_back(self, failure: ProviderFailure) -> Candidate | None:
        reason = "unavailable" if failure.kind in _ELSEWHERE else failure.kind
        if reason not in self._model.fallback_on:
            return None
        for model in self._fallbacks:
            self._rest = self._of(model)
            candidate = next(self._rest, None)
            if candidate is not None:
                return candidate
        return None

    def _go(self, candidate: Candidate | None) -> Candidate | None:
        self._current = candidate
        self._repeated = 0
        self._tries += 1
        return candidate

    def _of(self, model: Model) -> Iterator[Candidate]:
        drawn = _drawn(model.deployments, self._chance)
        drawn.sort(key=lambda one: self._health.open(one.provider.name, one.model))
        return iter([Candidate(model, deployment) for deployment in drawn])


def _drawn(deployments: Sequence[Deployment], chance: Callable[[], float]) -> list[Deployment]:
    """All of them, in an order by chance: each comes first as often as its weight says.

    Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006).
    """
    return sorted(
        deployments, key=lambda one: max(chance(), 1e-12) ** (1.0 / one.weight), reverse=True
    )
