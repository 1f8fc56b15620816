"""Limits as data: how much is asked of models per minute, and how many requests at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["provider", "organisation", "key", "purpose"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` (1 or more) units of `unit`, for what `of` names of its scope.

    All that give the same scope, unit and `of` are counted together.
    """

    scope: Scope
    of: str  # 'openai', an organisation's id, 'key:<uuid>', 'summary'
    unit: Literal["requests", "tokens"]
    per_minute: int

    @property
    def text(self) -> str:
        return f"{self.per_minute} {self.unit} per minute for each {self.scope}"


@dataclass(frozen=True, slots=True)
class Places:
    """`number` requests at once, for what `of` names of its scope."""

    scope: Scope
    of: str
    number: int

    @property
    def unit(self) -> Literal["concurrency"]:
        return "concurrency"

    @property
    def text(self) -> str:
        return f"{self.number} requests at once for each {self.scope}"


def name(limit: Rate | Places) -> str:
    """Under which all processes count it."""
    return f"llm:limit:{limit.unit}:{limit.scope}:{limit.of}"
