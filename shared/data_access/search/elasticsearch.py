"""The search port on Elasticsearch.

One index per collection. Documents are routed by organisation, and every request carries the
organisation as a filter and as its routing, so it asks one shard. The text arrives split into the
same terms as in PostgreSQL (terms.py) and is indexed by the whitespace analyzer: Elasticsearch
needs no language plugin, and both adapters find the same documents.

Writes go through an alias of the index, `….written`, and require that it is one. Written to by its
name, an index that somebody has deleted would be made again by Elasticsearch, with types that it
guesses and none of our mapping.

The URL is `http(s)://[user:password@]host:port[?fingerprint=…]`; a password without a user is an
API key, the fingerprint is the server's certificate's SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import elasticsearch
from elasticsearch import AsyncElasticsearch

from shared.data_access.guard import Guard
from shared.data_access.ports import Document, SearchHit, SearchPage
from shared.data_access.search.elasticsearch_errors import (
    DRIVER_ERRORS,
    ELASTICSEARCH,
    describe,
    is_answer,
    kind_of,
    once_started,
)
from shared.data_access.search.highlight import highlights
from shared.data_access.search.query import check_query, listing, microseconds
from shared.data_access.search.terms import Word, terms, words
from shared.errors import Detail, InvalidInput, StoreError

_READ_SECONDS = 2.0
_WRITE_SECONDS = 30.0
_CLEAR_SECONDS = 600.0
_BATCH = 500
_WRITTEN = ".written"  # no collection's name has a dot
_NO_INDEX = "index_not_found_exception"
_COLLECTION = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MAPPINGS: Mapping[str, Any] = MappingProxyType(
    {
        "dynamic": "strict",
        "_source": {"excludes": ["terms"]},
        "_routing": {"required": True},
        "properties": {
            "org_id": {"type": "keyword"},
            "id": {"type": "keyword"},
            "at": {"type": "long"},
            # One "name=value" for each field: exact filters without a mapping for each.
            "tags": {"type": "keyword"},
            "terms": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
            "text": {"type": "text", "index": False},
            "fields": {"type": "object", "enabled": False},
        },
    }
)


class ElasticsearchSearch:
    """Search over one client; connects at the first call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = _client(url)
        self.guard = Guard(ELASTICSEARCH, self._probe)
        self._known: set[str] = set()

    async def index(self, org_id: UUID, collection: str, documents: Sequence[Document]) -> None:
        if not documents:
            return
        latest = list({document.id: document for document in documents}.values())
        for start in range(0, len(latest), _BATCH):
            batch = latest[start : start + _BATCH]
            operations = await asyncio.to_thread(_index_operations, org_id, batch)
            await self._bulk(collection, org_id, operations)

    async def search(
        self,
        org_id: UUID,
        collection: str,
        query: str,
        *,
        filters: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchPage:
        check_query(query)
        pages = listing(org_id, collection, query, filters or {})
        position = pages.position(cursor)
        wanted = words(query)
        if not wanted:
            return SearchPage((), None)
        async with self.guard.call(_READ_SECONDS, "search", _index(collection)):
            answer = await once_started(
                self._client.search,
                index=_index(collection),
                routing=str(org_id),
                preference=str(
                    org_id
                ),  # the same copy for every page: copies refresh at times of their own
                ignore_unavailable=True,
                query=_query(org_id, wanted, filters or {}),
                sort=[{"at": "desc"}, {"id": "asc"}],
                size=limit + 1,
                source_includes=["id", "text", "fields"],
                track_total_hits=False,
                search_after=[position.at, position.id] if position else None,
            )
        found = answer["hits"]["hits"]
        hits = await asyncio.to_thread(_hits, found[:limit], wanted)
        end = found[limit - 1]["sort"] if len(found) > limit else None
        return SearchPage(hits, pages.after(end) if end else None)

    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            operations = [
                {"delete": {"_id": _document_id(org_id, item), "routing": str(org_id)}}
                for item in ids[start : start + _BATCH]
            ]
            await self._bulk(collection, org_id, operations)

    async def count(self, org_id: UUID, collection: str) -> int:
        async with self.guard.call(_READ_SECONDS, "count", _index(collection)):
            answer = await once_started(
                self._client.count,
                index=_index(collection),
                routing=str(org_id),
                ignore_unavailable=True,
                query={"term": {"org_id": str(org_id)}},
            )
        return int(answer["count"])

    async def refresh(self) -> None:
        async with self.guard.call(_WRITE_SECONDS, "indices.refresh"):
            await self._client.indices.refresh(index="looma-*", ignore_unavailable=True)

    async def clear(self, org_id: UUID, collection: str) -> None:
        index = _index(collection)
        async with self.guard.call(_CLEAR_SECONDS, "delete_by_query", index):
            # What was indexed a moment ago is only found, and so deleted, after a refresh.
            await self._client.indices.refresh(index=index, ignore_unavailable=True)
            await self._client.options(request_timeout=_CLEAR_SECONDS).delete_by_query(
                index=index,
                routing=str(org_id),
                ignore_unavailable=True,
                query={"term": {"org_id": str(org_id)}},
                conflicts="proceed",
                refresh=True,
            )

    async def ping(self) -> None:
        await self.guard.ask()
        async with self.guard.call(_READ_SECONDS, "info"):
            await self._client.info()

    async def close(self) -> None:
        await self.guard.close()
        with suppress(*DRIVER_ERRORS, OSError):
            await self._client.close()

    async def _made(self, collection: str) -> str:
        """The alias that the collection's index is written through; both exist afterwards."""
        index = _index(collection)
        alias = f"{index}{_WRITTEN}"
        if alias not in self._known:
            async with self.guard.call(_WRITE_SECONDS, "indices.exists_alias", alias):
                client = self._client.options(request_timeout=_WRITE_SECONDS)
                if not await client.indices.exists_alias(name=alias):
                    await _make(client, index, alias)
            self._known.add(alias)
        return alias

    async def _bulk(
        self, collection: str, org_id: UUID, operations: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write to the collection's index, made where it is missing: never, or no more, there."""
        answer = await self._written(collection, org_id, operations)
        if answer["errors"] and _is_gone(answer["items"]):
            self._known.clear()
            answer = await self._written(collection, org_id, operations)
        if answer["errors"]:
            self._raise_first(answer["items"])

    async def _written(
        self, collection: str, org_id: UUID, operations: Sequence[Mapping[str, Any]]
    ) -> Any:
        alias = await self._made(collection)
        async with self.guard.call(_WRITE_SECONDS, "bulk", alias):
            return await self._client.options(request_timeout=_WRITE_SECONDS).bulk(
                index=alias, require_alias=True, routing=str(org_id), operations=operations
            )

    def _raise_first(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Raise for what was refused; that a document to delete isn't there is fine."""
        for item in items:
            outcome = next(iter(item.values()))
            error = outcome.get("error")
            if error is not None:
                kind = kind_of(outcome["status"], error["type"])
                raise ELASTICSEARCH.error(StoreError(f"{outcome['status']} {error['type']}"), kind)

    async def _probe(self) -> bool | str:
        """Over a client of its own: the other's connections may all be waited for."""
        async with _client(self._url) as client:
            try:
                await client.info()
            except DRIVER_ERRORS as error:
                return is_answer(error) and describe(error)
            return True


def _client(url: str) -> AsyncElasticsearch:
    parts = urlsplit(url)
    options: dict[str, Any] = {}
    if parts.username:
        options["basic_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    elif parts.password:
        options["api_key"] = unquote(parts.password)
    fingerprint = parse_qs(parts.query).get("fingerprint")
    if fingerprint:
        options |= {"ssl_assert_fingerprint": fingerprint[0]}
    port = parts.port or (443 if parts.scheme == "https" else 9200)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return AsyncElasticsearch(
        f"{parts.scheme}://{host}:{port}{parts.path}",
        request_timeout=_READ_SECONDS,
        # Once more on a connection that was lost while it was idle; timeouts are final.
        max_retries=1,
        retry_on_timeout=False,
        retry_on_status=(),
        **options,
    )


async def _make(client: AsyncElasticsearch, index: str, alias: str) -> None:
    try:
        await client.indices.create(index=index, mappings=dict(_MAPPINGS), aliases={alias: {}})
    except elasticsearch.BadRequestError as error:
        # Another process was first, or the index is of before it had an alias.
        if error.error != "resource_already_exists_exception":
            raise
        await client.indices.put_alias(index=index, name=alias)


def _is_gone(items: Sequence[Mapping[str, Any]]) -> bool:
    outcomes = [next(iter(item.values())) for item in items]
    return any(one.get("error", {}).get("type") == _NO_INDEX for one in outcomes)


def _index(collection: str) -> str:
    if not _COLLECTION.fullmatch(collection):
        raise InvalidInput(
            "A collection has no such name.",
            details=[Detail("collection", repr(collection), "a-z, then a-z, 0-9, _ and -")],
        )
    return f"looma-{collection}"


def _index_operations(org_id: UUID, documents: Sequence[Document]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = []
    for document in documents:
        operations += [
            {"index": {"_id": _document_id(org_id, document.id), "routing": str(org_id)}},
            {
                "org_id": str(org_id),
                "id": document.id,
                "at": microseconds(document.at),
                "tags": [f"{name}={value}" for name, value in document.fields.items()],
                "terms": " ".join(terms(document.text)),
                "text": document.text,
                "fields": dict(document.fields),
            },
        ]
    return operations


def _query(org_id: UUID, wanted: Sequence[Word], filters: Mapping[str, str]) -> dict[str, Any]:
    """Filters only: without scores the newest are found without looking at every match."""
    exact: list[dict[str, Any]] = [{"term": {"org_id": str(org_id)}}]
    exact += [{"term": {"tags": f"{name}={value}"}} for name, value in filters.items()]
    for word in wanted:
        exact += [{"term": {"terms": term}} for term in word.terms]
        if word.prefix is not None:
            exact.append({"prefix": {"terms": word.prefix}})
    return {"bool": {"filter": exact}}


def _hits(found: Sequence[Mapping[str, Any]], wanted: Sequence[Word]) -> list[SearchHit]:
    return [
        SearchHit(
            hit["_source"]["id"],
            highlights(hit["_source"]["text"], wanted),
            hit["_source"]["fields"],
        )
        for hit in found
    ]


def _document_id(org_id: UUID, item: str) -> str:
    """Elasticsearch's ids end at 512 bytes; ours are kept in a field."""
    return hashlib.blake2b(f"{org_id}/{item}".encode(), digest_size=16).hexdigest()
