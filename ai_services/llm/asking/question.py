"""What is asked of a model, by whom, and how its answer is read: what attempts need of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from ai_services.llm.models.catalogue import Model
from ai_services.llm.protocol.usage import Usage


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, for what: what attempts are counted and charged by."""

    org_id: UUID
    subject: str
    purpose: str
    request_id: UUID
    prompt_version: str = ""


class Question(Protocol):
    """A request as attempts need it."""

    @property
    def path(self) -> str:
        """Below a provider's base URL."""
        ...

    def for_provider(self, model: str) -> bytes:
        """The body for a provider that calls the model so."""
        ...

    def worst_case(self, model: Model) -> Usage:
        """Tokens that no answer can exceed."""
        ...

    @property
    def input_estimate(self) -> int:
        """About how many tokens it has, where a provider doesn't say."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """What was found in a whole answer: `usage` as it is stated there, `text` all that was written.

    `refused`: nothing of it answers; `filtered`: because the provider's filter keeps it back.
    """

    document: dict[str, Any]
    usage: object
    text: str
    refused: bool = False
    filtered: bool = False


class Chunks(Protocol):
    """What is read of a stream: fed with bytes, it counts what came."""

    def feed(self, part: bytes) -> list[bytes]:
        """The events that are whole now, as they go on; UpstreamError for what is none."""
        ...

    def rest(self) -> list[bytes]:
        """What is left at the end of the stream; UpstreamError if it ended before its answer."""
        ...

    @property
    def usage(self) -> object: ...
    @property
    def text(self) -> str: ...
    @property
    def is_done(self) -> bool: ...
    @property
    def is_refused(self) -> bool: ...
