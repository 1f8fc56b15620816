"""Who is calling: the credential of a request becomes a principal, once per credential.

What was verified is kept by SHA-256 of the whole credential, bounded, never beyond its end, and
every use asks the revocations.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Final

from sanic.compat import Header

from gateway.api_keys import ApiKeys
from gateway.expiring_cache import ExpiringCache
from gateway.revocations import Revocations
from gateway.token_issuers import TokenIssuers
from shared.errors import Unauthenticated
from shared.security import ANONYMOUS, Principal

KEY_MARKS: Final = ("looma_", "lk_")  # how an API key starts when it is sent as a bearer token
_SIZE: Final = 50_000
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+) *")
_KEY: Final = re.compile(r"[!-~]{8,512}")


class Identity:
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
        self._verified: ExpiringCache[bytes, Principal] = ExpiringCache(_SIZE, clock)

    async def principal(self, headers: Header) -> Principal:
        """ANONYMOUS without a credential; Unauthenticated with one that is not good.

        UpstreamError if the auth service would have to be asked and can't be.
        """
        credential, is_key = _credential(headers)
        if not credential:
            return ANONYMOUS
        digest = hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
        principal = self._verified.get(digest)
        if principal is None:
            if is_key:
                principal = (await self._keys.verify(digest)).principal
            else:
                verified = await self._tokens.verify(credential)
                principal = verified.principal
                self._verified.put(digest, principal, verified.expires_at)
        if self._revocations.revoked(principal):
            raise Unauthenticated("This session or API key has ended. Sign in again.")
        return principal


def _credential(headers: Header) -> tuple[str, bool]:
    """(credential, is it an API key); ('', False) if there is none."""
    bearers, keys = headers.getall("authorization", []), headers.getall("x-api-key", [])
    if not bearers and not keys:
        return "", False
    if len(bearers) + len(keys) > 1:
        raise Unauthenticated("More than one credential was sent. Send one.")
    if keys:
        if not _KEY.fullmatch(keys[0]):
            raise Unauthenticated("X-API-Key holds no API key.")
        return keys[0], True
    match = _BEARER.fullmatch(bearers[0])
    if match is None:
        raise Unauthenticated("Send Authorization: Bearer <token>.")
    return match.group(1), match.group(1).startswith(KEY_MARKS)
