"""How one attempt at a provider failed, and what may be done about it.

ProviderFailure
│   outcome     what the ledger says of it
│   kind        unavailable  it is away, late or broken: ask again or elsewhere
│               limited      it takes no more for `retry_after` seconds
│               quota        our account there is used up: only elsewhere
│               refused      it will not answer this: elsewhere, if the model says so
│               context      too long for this model: elsewhere, if the model says so
│               request      it finds the request wrong: nobody else is asked
│               setup        key or model name are wrong: only elsewhere
└── billed      whether it may have been charged for: nothing was said of that
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson

from ai_services.llm.spend.attempt import Outcome
from shared.errors import UpstreamError

Kind = Literal["unavailable", "limited", "quota", "refused", "context", "request", "setup", "open"]

LONGEST_RETRY_AFTER_S: Final = 3600.0
_CONTEXT_CODES: Final = frozenset({"context_length_exceeded", "string_above_max_length"})
_REFUSED_CODES: Final = frozenset(
    {
        "content_filter", "content_policy_violation", "data_inspection_failed",
        "sensitive_words_detected", "moderation_blocked",
    }
)  # fmt: skip
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "insufficient_balance", "Arrearage"})
_SHOWN: Final = 500  # characters of a provider's own message


class ProviderFailure(UpstreamError):
    """One attempt that brought no answer. `message` is for clients, without anything of a request."""

    def __init__(
        self,
        kind: Kind,
        outcome: Outcome,
        message: str,
        retry_after: float | None = None,
        *,
        billed: bool = False,
        begun: bool = False,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: Final = kind
        self.outcome: Final = outcome
        self.retry_after = retry_after
        self.billed: Final = billed
        self.begun: Final = begun
        self.param: Final = param

    @property
    def repeatable(self) -> bool:
        """Whether the same deployment may be asked again soon."""
        late = self.outcome == "timeout"  # it has taken all of its time already
        return self.kind in {"unavailable", "limited"} and not self.begun and not late


def failure_of(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> ProviderFailure:
    """What an answer with a status other than 200 means, by status and the error's code."""
    message, code, param = _error(body)
    retry_after = seconds_of(headers.get("Retry-After"), time.time() if now is None else now)
    if code in _CONTEXT_CODES:
        return ProviderFailure("context", "error", message, param=param)
    if code in _REFUSED_CODES:
        return ProviderFailure("refused", "refused", message, param=param)
    if status == 402 or code in _QUOTA_CODES:
        return ProviderFailure("quota", "error", "The provider's account is used up.")
    if status == 429:
        said = "The provider takes no more requests at the moment."
        return ProviderFailure("limited", "rate_limited", said, retry_after)
    if status in {401, 403, 404}:
        said = f"The provider refused our key, or doesn't know the model (HTTP {status})."
        return ProviderFailure("setup", "error", said)
    if 400 <= status < 500 and status not in {408, 409, 425}:
        return ProviderFailure("request", "error", message, param=param)
    said = f"The provider answered with HTTP {status}."
    return ProviderFailure("unavailable", "error", said, retry_after)


def seconds_of(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 §10.2.3: digits or a date), an hour at most."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _error(body: bytes) -> tuple[str, str | None, str | None]:
    """Message, code and parameter of an error in OpenAI's shape, as far as it is one."""
    unclear = "The provider refused the request without a reason that can be read."
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return unclear, None, None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return unclear, None, None
    message, code, param = error.get("message"), error.get("code"), error.get("param")
    return (
        message[:_SHOWN] if isinstance(message, str) and message else unclear,
        code if isinstance(code, str) else None,
        param if isinstance(param, str) else None,
    )
