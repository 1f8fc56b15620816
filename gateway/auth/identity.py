"""From a request's credential to its caller: verified once, then kept.

What was verified is kept by SHA-256 of the whole credential, bounded, never beyond its end, and
every use asks the revocations.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from gateway.auth.access_tokens import Verified
from gateway.auth.api_keys import ApiKeys
from gateway.auth.caller import Caller
from gateway.auth.issuers import TokenIssuers
from gateway.auth.revocations import Revocations
from gateway.expiring_cache import ExpiringCache
from gateway.http.headers import Credential, Headers
from shared.errors import Unauthenticated, UpstreamUnavailable
from shared.security import ANONYMOUS

KEY_MARKS: Final = ("looma_", "lk_")  # how an API key starts when it is sent as a bearer token
_SIZE: Final = 150_000  # callers; 1 to 3 KiB each with what is kept for them
_TIMES: Final = 3  # that a key is asked about while notices about it come
_ENDED: Final = "This session has ended. Sign in again."
_NO_BEARER: Final = "Send Authorization: Bearer <token>."
_KEY: Final = re.compile(r"[!-~]{8,512}")


class Identity:
    """The callers of all requests, by credential."""

    def __init__(
        self,
        tokens: TokenIssuers,
        keys: ApiKeys,
        revocations: Revocations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._revocations = revocations
        self._verified: ExpiringCache[bytes, Caller] = ExpiringCache(_SIZE, clock)
        self.anonymous = Caller(ANONYMOUS)

    async def caller(self, headers: Headers) -> Caller:
        """Who sent these headers: `anonymous` without a credential, Unauthenticated with a bad one.

        UpstreamError if the auth service would have to be asked and can't be.
        """
        # A coroutine although it seldom waits: compiled, that costs 20 ns of a request's 30 µs.
        credential = headers.credential
        if credential is None:
            credential = read_credential(headers)
            if credential is None:
                return self.anonymous
            headers.credential = credential
        caller = self._verified.get(credential.digest)
        if caller is not None and self._revocations.ended(caller.mark):
            caller = self._after_notice(credential, caller)
        return await self._verify(credential) if caller is None else caller

    async def _verify(self, credential: Credential) -> Caller:
        if credential.is_key:
            verified = await self._key(credential.digest)
        elif credential.may_be_token():
            verified = await self._tokens.verify(credential.text)
        else:
            raise Unauthenticated(_NO_BEARER)
        if not credential.is_key and self._revocations.ended(
            f"session:{verified.principal.session}"
        ):
            raise Unauthenticated(_ENDED)
        caller = Caller(verified.principal, verified.heard)
        self._verified.put(credential.digest, caller, verified.expires_at)
        return caller

    def _after_notice(self, credential: Credential, caller: Caller) -> Caller | None:
        """A session named in a notice has ended. What was known of a key before it is void, as the
        key may have ended or count for less now: None, so that the auth service is asked again.
        """
        if not credential.is_key:
            raise Unauthenticated(_ENDED)
        if caller.heard >= self._revocations.heard_at(caller.mark):
            return caller
        self._verified.drop(credential.digest)
        return None

    async def _key(self, digest: bytes) -> Verified:
        """Verify a key: as it is after every notice about it that has come by now."""
        for _ in range(_TIMES):
            verified = await self._keys.verify(digest, self._revocations.heard)
            if verified.heard >= self._revocations.heard_at(verified.principal.subject):
                return verified
        raise UpstreamUnavailable("This API key is being changed. Try again in a moment.")


def read_credential(headers: Headers) -> Credential | None:
    """The credential in a request's headers, if any; Unauthenticated for what can't be one."""
    if not headers.repeated:  # a client's usual way, without a list for each
        if "x-api-key" not in headers:
            bearer = headers.get("authorization")
            if bearer or "authorization" in headers:
                return _bearer(bearer)
            return None
        if "authorization" not in headers:
            return _api_key(headers["x-api-key"])
    bearers, keys = headers.getall("authorization"), headers.getall("x-api-key")
    if len(bearers) + len(keys) > 1:
        raise Unauthenticated("More than one credential was sent. Send one.")
    if keys:
        return _api_key(keys[0])
    return _bearer(bearers[0]) if bearers else None


def _api_key(value: str) -> Credential:
    if not _KEY.fullmatch(value):
        raise Unauthenticated("X-API-Key holds no API key.")
    return Credential(value, is_key=True)


def _bearer(value: str) -> Credential:
    if value[:7].lower() != "bearer ":
        raise Unauthenticated(_NO_BEARER)
    token = value[7:].strip(" ")
    return Credential(token, is_key=token.startswith(KEY_MARKS) and bool(_KEY.fullmatch(token)))
