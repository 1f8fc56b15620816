"""Classifies how one attempt at an instance ended, for breakers, ejection and load shedding."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from shared.errors import UpstreamError

_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
# They speak of what was asked for, not of how the instance does.
_ABOUT_THE_REQUEST: Final = frozenset({501, 505})


class Outcome(IntEnum):
    SUCCESS = 0
    CLIENT_ERROR = 1  # 4xx: the instance works, the request was wrong
    SERVER_ERROR = 2  # 5xx that the service itself made
    GATEWAY_ERROR = 3  # 502, 503, 504; no connection; a late or broken answer, or none
    CANCELLED = 4  # ended from the client's side: says nothing about the instance
    UNAVAILABLE = 5  # 503 with Retry-After: it works and says itself that it can't for a while

    @property
    def failed(self) -> bool:
        return self is Outcome.SERVER_ERROR or self is Outcome.GATEWAY_ERROR

    @property
    def answered(self) -> bool:
        """Whether the instance did its work, the client's mistakes included."""
        return self is Outcome.SUCCESS or self is Outcome.CLIENT_ERROR


def outcome_of_status(status: int, *, retry_after: bool = False) -> Outcome:
    """`retry_after`: the answer says when to come back, as one does whose store is away."""
    if status < 400:
        return Outcome.SUCCESS
    if status == 503 and retry_after:
        return Outcome.UNAVAILABLE
    if status < 500 or status in _ABOUT_THE_REQUEST:
        return Outcome.CLIENT_ERROR
    return Outcome.GATEWAY_ERROR if status in _GATEWAY_STATUSES else Outcome.SERVER_ERROR


def outcome_of_error(error: BaseException) -> Outcome:
    """What did not end with an answer.

    Only the instance's own errors are held against it: a cancelled task, a broken request body or a
    client that takes nothing are not its doing.
    """
    return Outcome.GATEWAY_ERROR if isinstance(error, UpstreamError) else Outcome.CANCELLED
