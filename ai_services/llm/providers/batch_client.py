"""Batches at a provider, by OpenAI's protocol: its files, and what has become of a batch.

A batch names itself in its metadata, so that one whose creation nobody saw the answer of is found again.
Nothing is tried again here; ProviderFailure for all that fails.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from ai_services.llm.models.catalogue import Provider
from ai_services.llm.providers.outcome import ProviderFailure, failure_of

ANSWER_LIMIT: Final = 128 << 20  # bytes of a file of answers
_NAME: Final = "looma_batch"  # in the metadata
_ERROR_LIMIT: Final = 64 << 10
_TOTAL_S: Final = 120.0  # of one request
_PAGE: Final = 100
_PAGES: Final = 20
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """A batch as its provider tells of it."""

    id: str
    status: str
    input_file: str | None
    output_file: str | None
    error_file: str | None
    completed: int
    failed: int
    errors: tuple[Mapping[str, Any], ...]

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED


class BatchClient:
    """Opened by `opened_batch_client`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def upload(self, provider: Provider, name: str, content: bytes) -> str:
        """The provider's name of a file of requests."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        file = io.BytesIO(content)  # written in parts, and others go on between them
        form.add_field("file", file, filename=name, content_type="application/jsonl")
        return _text(await self._json(provider, "POST", "/files", data=form), "id", provider)

    async def create(
        self, provider: Provider, name: str, input_file: str, endpoint: str
    ) -> Upstream:
        body = {
            "input_file_id": input_file, "endpoint": endpoint, "completion_window": "24h",
            "metadata": {_NAME: name},
        }  # fmt: skip
        return _upstream(await self._json(provider, "POST", "/batches", json=body), provider)

    async def find(self, provider: Provider, name: str) -> Upstream | None:
        """The batch that was created with this name; of the newest of our account's batches."""
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            query = {"limit": str(_PAGE), **after}
            page = await self._json(provider, "GET", "/batches", params=query)
            listed = page.get("data")
            if not isinstance(listed, list):
                raise _broken(provider)
            for one in listed:
                metadata = one.get("metadata") if isinstance(one, dict) else None
                if isinstance(metadata, dict) and metadata.get(_NAME) == name:
                    return _upstream(one, provider)
            if not page.get("has_more") or not listed:
                return None
            after = {"after": _text(listed[-1], "id", provider)}
        return None

    async def look(self, provider: Provider, batch: str) -> Upstream:
        return _upstream(await self._json(provider, "GET", f"/batches/{batch}"), provider)

    async def cancel(self, provider: Provider, batch: str) -> Upstream:
        path = f"/batches/{batch}/cancel"
        return _upstream(await self._json(provider, "POST", path), provider)

    async def content(self, provider: Provider, file: str) -> bytes:
        return await self._ask(provider, "GET", f"/files/{file}/content", ANSWER_LIMIT)

    async def delete(self, provider: Provider, file: str) -> None:
        await self._json(provider, "DELETE", f"/files/{file}")

    async def _json(
        self, provider: Provider, method: str, path: str, **request: Any
    ) -> dict[str, Any]:
        body = await self._ask(provider, method, path, ANSWER_LIMIT, **request)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _broken(provider) from error
        if not isinstance(document, dict):
            raise _broken(provider)
        return document

    async def _ask(
        self, provider: Provider, method: str, path: str, limit: int, **request: Any
    ) -> bytes:
        """The body of a 200."""
        headers = {"Authorization": f"Bearer {provider.key}"} if provider.key else {}
        timeout = aiohttp.ClientTimeout(_TOTAL_S, sock_connect=provider.connect_s)
        try:
            async with self._session.request(
                method, provider.base_url + path, headers=headers, timeout=timeout,
                allow_redirects=False, **request,
            ) as response:  # fmt: skip
                if response.status != 200:
                    body = await _bounded(response, _ERROR_LIMIT, provider)
                    raise failure_of(response.status, response.headers, body)
                return await _bounded(response, limit, provider)
        except (TimeoutError, aiohttp.ClientError) as error:
            said = f"The provider {provider.name} can't be reached, or broke off its answer."
            raise ProviderFailure("unavailable", "error", said, billed=True) from error


@asynccontextmanager
async def opened_batch_client() -> AsyncIterator[BatchClient]:
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield BatchClient(session)


async def _bounded(response: aiohttp.ClientResponse, limit: int, provider: Provider) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit:
            said = f"The answer of the provider {provider.name} has more than {limit} bytes."
            raise ProviderFailure("request", "broken", said, billed=True)
    return b"".join(parts)


def _upstream(document: Mapping[str, Any], provider: Provider) -> Upstream:
    counts = document.get("request_counts")
    errors = document.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else None
    return Upstream(
        _text(document, "id", provider),
        _text(document, "status", provider),
        _named(document, "input_file_id"),
        _named(document, "output_file_id"),
        _named(document, "error_file_id"),
        _count(counts, "completed"),
        _count(counts, "failed"),
        tuple(one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else (),
    )


def _named(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and _is_name(value) else None


def _text(document: Mapping[str, Any], name: str, provider: Provider) -> str:
    value = _named(document, name)
    if value is None:
        raise _broken(provider)
    return value


def _is_name(value: str) -> bool:
    """Whether it can stand in a path: what a provider says leads nowhere else."""
    return (
        0 < len(value) <= 200
        and value.replace("-", "").replace("_", "").isalnum()
        and value.isascii()
    )


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _broken(provider: Provider) -> ProviderFailure:
    said = f"What the provider {provider.name} says of a batch can't be read."
    return ProviderFailure("unavailable", "invalid", said)
