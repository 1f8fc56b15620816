"""The parts of authentication, opened together: keys, issuers, API keys, revocations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.auth.access_tokens import AccessTokens
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.issuer_file import ExternalIssuer
from gateway.auth.issuers import open_issuers
from gateway.auth.jwks import SigningKeys
from gateway.auth.revocations import Revocations
from gateway.upstream.service_calls import ServiceCalls
from shared.config import Config
from shared.data_access.ports import Cache
from shared.errors import UpstreamError


@dataclass(frozen=True, slots=True)
class Authentication:
    """What was opened, and its work in the background."""

    identity: Identity
    keys: SigningKeys  # of our own issuer
    revocations: Revocations
    work: Mapping[str, Callable[[], Awaitable[None]]]  # to run beside the requests, by name


async def open_authentication(
    stack: AsyncExitStack,
    config: Config,
    issuers: Iterable[ExternalIssuer],
    calls: ServiceCalls,
    cache: Cache,
) -> Authentication:
    """Open all parts; they are closed with `stack`."""
    keys = SigningKeys(partial(_jwks, calls))
    stack.callback(keys.close)
    own = AccessTokens(keys, issuer=config.token_issuer, audience=config.token_audience)
    tokens = await open_issuers(stack, own, issuers)
    api_keys = ApiKeys(calls)
    stack.callback(api_keys.close)
    revocations = Revocations(calls, cache)
    return Authentication(
        Identity(tokens, api_keys, revocations),
        keys,
        revocations,
        {
            "signing keys": keys.renew_forever,
            **tokens.renewals,
            "revocations by poll": revocations.poll_forever,
            "revocations by message": revocations.listen_forever,
        },
    )


async def _jwks(calls: ServiceCalls) -> Any:
    status, document = await calls.ask("auth", "GET", "/.well-known/jwks.json")
    if status != 200:
        raise UpstreamError(f"The auth service answers {status} when asked for its keys.")
    return document
