"""One Weaviate: where it is, how it is connected to, whether it answers.

The URL is `http(s)://[:api-key@]host:port[?grpc=host:port]`; gRPC is on port 50051 of the same host
unless it says otherwise. Data goes over gRPC, collections and tenants over HTTP: it takes both.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import grpc  # type: ignore[import-untyped]  # no types published
import httpx
import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout

_CONNECT_SECONDS = 2
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_WHOLE_SERVER: Final = b""  # the request, serialised: a message without fields
# What is said for a server that can't be reached; all else comes from one that can.
_AWAY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class WeaviateServer:
    """Of one URL; holds no connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if self._secure else 8080)
        grpc_host, _, grpc_port = parse_qs(parts.query).get("grpc", [""])[0].rpartition(":")
        self._grpc_host = grpc_host.strip("[]") or self._host
        self._grpc_port = int(grpc_port or 50051)
        self._key = unquote(parts.password) if parts.password else None

    def client(self, *, read: float, write: float) -> weaviate.WeaviateAsyncClient:
        """A client that isn't connected; its reads and writes take so many seconds at most."""
        return weaviate.use_async_with_custom(
            http_host=self._host,
            http_port=self._port,
            http_secure=self._secure,
            grpc_host=self._grpc_host,
            grpc_port=self._grpc_port,
            grpc_secure=self._secure,
            auth_credentials=Auth.api_key(self._key) if self._key else None,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=_CONNECT_SECONDS, query=read, insert=write)
            ),
            # It would ask a package index for newer versions of the client.
            skip_init_checks=True,
        )

    async def collections(self) -> list[str]:
        """The names of all collections.

        The client would read every collection's settings for them, and fail on one that it doesn't
        know all of: another program's, or a newer server's.
        """
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx.AsyncClient(headers=headers, timeout=2, trust_env=False) as client:
            answer = await client.get(f"{self._base}/v1/schema")
            answer.raise_for_status()
            return [str(entry["class"]) for entry in answer.json()["classes"]]

    async def answers(self) -> bool:
        """Whether it answers over HTTP and over gRPC, each asked on a connection of its own."""
        return all(await asyncio.gather(self._http_answers(), self.grpc_answers()))

    async def grpc_answers(self) -> bool:
        """A refusal is an answer, too."""
        async with self._channel() as channel:
            try:
                await channel.unary_unary(_HEALTH)(_WHOLE_SERVER, timeout=_CONNECT_SECONDS)
            except grpc.aio.AioRpcError as error:
                return error.code() not in _AWAY
            return True

    async def _http_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{self._base}/v1/.well-known/ready")
        except httpx.HTTPError:
            return False
        return answer.status_code < 502

    def _channel(self) -> Any:
        address = f"{_bracketed(self._grpc_host)}:{self._grpc_port}"
        if self._secure:
            return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials())
        return grpc.aio.insecure_channel(address)

    @property
    def _base(self) -> str:
        scheme = "https" if self._secure else "http"
        return f"{scheme}://{_bracketed(self._host)}:{self._port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
