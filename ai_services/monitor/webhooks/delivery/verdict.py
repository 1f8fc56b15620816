"""What an attempt came to, and what becomes of its delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

# Seconds after each failure, as Standard Webhooks proposes: eight attempts over 31 hours.
PAUSES: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0)
_SPREAD: Final = 0.1  # of a pause, at most, is added by chance
_LONGEST_S: Final = 86_400.0  # that a webhook may put us off


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` None: there was none, and `error` says why. `retry_after_s` is what was asked for."""

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`after_s`: when a delivery that waits is sent again. `gone`: its webhook wants nothing more."""

    state: Literal["delivered", "waiting", "dead"]
    after_s: float = 0.0
    gone: bool = False


def verdict(answer: Answer, attempts: int, pauses: Sequence[float], chance: float) -> Verdict:
    """`attempts` counts this one; `chance` from 0 to 1 spreads those that failed together."""
    if answer.error is None:
        return Verdict("delivered")
    if answer.status == HTTPStatus.GONE:
        return Verdict("dead", gone=True)
    if attempts > len(pauses):
        return Verdict("dead")
    pause = pauses[attempts - 1] * (1 + _SPREAD * chance)
    return Verdict("waiting", max(pause, min(answer.retry_after_s or 0.0, _LONGEST_S)))
