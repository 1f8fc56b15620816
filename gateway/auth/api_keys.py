"""Verification of API keys: by asking the auth service, whose answer is good for at most 30 s.

The key itself goes nowhere. It is looked up by its SHA-256 here and in the auth service: how long
that takes says nothing about a key, as nobody can choose the hash. An unknown key is remembered
for 5 s, so that a client that repeats itself doesn't reach the auth service each time; a known
one is remembered by `Identity`, which forgets it when a notice about it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from gateway.auth.access_tokens import Verified
from gateway.expiring_cache import ExpiringCache
from gateway.upstream.service_calls import ServiceCalls
from shared.errors import Unauthenticated, UpstreamError, UpstreamUnavailable
from shared.security import USER_ROLES, Principal
from shared.serving.single_flight import SingleFlight

KNOWN_S: Final = 30.0
UNKNOWN_S: Final = 5.0
_SIZE: Final = 10_000


class ApiKeys:
    """`verify` per key that is not known, `close` at the end."""

    def __init__(self, calls: ServiceCalls, clock: Callable[[], float] = time.time) -> None:
        self._calls = calls
        self._clock = clock
        self._unknown: ExpiringCache[bytes, bool] = ExpiringCache(_SIZE, clock)
        self._asking: SingleFlight[bytes, Verified | None] = SingleFlight("api key")

    async def verify(self, digest: bytes, heard: int) -> Verified:
        """The principal of the key with this SHA-256, and until when it may be believed; `heard`
        numbers the notices that have come (an answer that was asked for earlier says so).

        Unauthenticated for an unknown, revoked or expired one; UpstreamError if nobody can tell.
        """
        if self._unknown.get(digest) is None:
            verified = await self._asking.do(digest, partial(self._ask, digest, heard))
            if verified is not None:
                return verified
        raise Unauthenticated("The API key is unknown, revoked or expired. Ask an admin for one.")

    def close(self) -> None:
        self._asking.close()

    async def _ask(self, digest: bytes, heard: int) -> Verified | None:
        status, answer = await self._calls.ask(
            "auth", "POST", "/internal/v1/keys/verify", {"hash": digest.hex()}
        )
        now = self._clock()
        if status == 404:
            self._unknown.put(digest, True, now + UNKNOWN_S)
            return None
        if status != 200:
            raise UpstreamUnavailable("API keys can't be verified now. Try again in a moment.")
        principal, expires_at = _read(answer)
        return Verified(principal, min(now + KNOWN_S, expires_at), heard)


def _read(answer: Any) -> tuple[Principal, float]:
    try:
        data: Mapping[str, Any] = answer["data"]
        if data["role"] not in USER_ROLES:
            raise ValueError("unknown role")
        ends = data["expires_at"]
        return (
            Principal(UUID(data["org_id"]), f"key:{UUID(data['key_id'])}", data["role"], "key"),
            float("inf") if ends is None else datetime.fromisoformat(ends).timestamp(),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UpstreamError("The auth service sent an answer that is not one.") from error
