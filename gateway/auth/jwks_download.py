"""Fetches an external issuer's JWKS: TLS, 5 s, 256 KiB, no redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from shared.errors import ConfigError, UpstreamError, UpstreamTimeout, UpstreamUnavailable

_CONNECT_S: Final = 2.0
_WHOLE_S: Final = 5.0  # timeouts per read don't end a slow drip
_MAX_BODY: Final = 256 << 10
_HEADERS: Final = {
    "Accept": "application/jwk-set+json, application/json",
    "Accept-Encoding": "identity",  # nothing that unpacks to more than was counted
    "User-Agent": "looma-gateway",
}


class JwksDownload:
    """Fetches one URL. A redirect is an error: it would let the server choose who vouches."""

    def __init__(self, url: str, client: httpx.AsyncClient, whole: float) -> None:
        self._url = url
        self._client = client
        self._whole = whole

    async def fetch(self) -> Any:
        """The decoded document; UpstreamError (unreachable, late, too long, not JSON)."""
        try:
            async with asyncio.timeout(self._whole):
                return orjson.loads(await self._body())
        except orjson.JSONDecodeError as error:
            raise UpstreamError(f"{self._url} sent an answer that is not JSON.") from error
        except TimeoutError as error:
            raise UpstreamTimeout(f"{self._url} took longer than {self._whole:g} s.") from error
        except httpx.HTTPError as error:
            problem = str(error) or type(error).__name__
            raise UpstreamUnavailable(f"{self._url} can't be reached: {problem}.") from error

    async def _body(self) -> bytes:
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise UpstreamError(
                    f"{self._url} answers {response.status_code}. jwks_url must be where the keys "
                    "are; redirects are not followed."
                )
            if response.headers.get("content-encoding", "identity") != "identity":
                raise UpstreamError(f"{self._url} sent a compressed answer to who refuses them.")
            parts, size = [], 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > _MAX_BODY:
                    raise UpstreamError(f"{self._url} sent more than {_MAX_BODY} bytes.")
                parts.append(part)
            return b"".join(parts)


@asynccontextmanager
async def downloading(
    url: str, ca_file: Path | None = None, whole: float = _WHOLE_S
) -> AsyncIterator[JwksDownload]:
    """A download of `url` that may last `whole` seconds.

    `ca_file` names the only authorities that may vouch for its server; else the usual ones do.
    """
    try:
        trusted = (
            ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file {ca_file} holds no certificates: {error}.") from error
    async with httpx.AsyncClient(
        verify=trusted,
        timeout=httpx.Timeout(_WHOLE_S, connect=_CONNECT_S),
        follow_redirects=False,
        trust_env=False,  # no proxy and no password file from outside the settings
        headers=_HEADERS,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
    ) as client:
        yield JwksDownload(url, client, whole)
