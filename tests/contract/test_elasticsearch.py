"""What only Elasticsearch does, and where it needs a real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch

from shared.data_access.ports import Document
from shared.data_access.search.elasticsearch import ElasticsearchSearch


@pytest.fixture
def url() -> str:
    found = os.environ.get("TEST_ELASTICSEARCH_URL")
    if found is None:
        pytest.skip("TEST_ELASTICSEARCH_URL is not set: http://[user:password@]host:9200")
    return found


@pytest.fixture
async def operator(url: str) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(url) as client:
        yield client


async def test_a_search_in_the_first_moments_of_an_index_is_answered(url):
    org_id, collection = uuid4(), f"new-{uuid4().hex[:12]}"
    writer, readers = ElasticsearchSearch(url), [ElasticsearchSearch(url) for _ in range(4)]
    written = asyncio.Event()

    async def look(reader: ElasticsearchSearch) -> None:
        while not written.is_set():
            page = await reader.search(org_id, collection, "hello")
            assert [hit.id for hit in page.hits] in ([], ["d1"])
            assert await reader.count(org_id, collection) in (0, 1)

    try:
        await asyncio.gather(*(reader.ping() for reader in readers))
        looking = [asyncio.create_task(look(reader)) for reader in readers]
        await writer.index(org_id, collection, [Document("d1", "hello")])
        written.set()
        await asyncio.gather(*looking)
        await writer.refresh()
        assert await writer.count(org_id, collection) == 1
    finally:
        await asyncio.gather(*(one.close() for one in (writer, *readers)))


async def test_an_index_that_was_deleted_is_made_again_as_it_was(url, operator):
    """Not as Elasticsearch would by itself: with a mapping that it guesses."""
    org_id, collection = uuid4(), f"gone-{uuid4().hex[:12]}"
    index, search = f"looma-{collection}", ElasticsearchSearch(url)
    try:
        await search.index(org_id, collection, [Document("d1", "hello")])
        made = (await operator.indices.get_mapping(index=index))[index]
        for write in (
            search.index(org_id, collection, [Document("d2", "退款 hello")]),
            search.delete(org_id, collection, ["d1"]),
        ):
            await operator.indices.delete(index=index)
            await write
            assert (await operator.indices.get_mapping(index=index))[index] == made
        await operator.indices.delete(index=index)
        await search.clear(org_id, collection)
        assert await search.count(org_id, collection) == 0
        # All documents of a large batch, and many writers at once.
        documents = [Document(f"d{n}", "退款 hello") for n in range(1200)]
        await asyncio.gather(*(search.index(org_id, collection, documents) for _ in range(3)))
        await search.refresh()
        assert await search.count(org_id, collection) == 1200
        assert (await operator.indices.get_mapping(index=index))[index] == made
    finally:
        await search.close()


async def test_an_index_from_before_there_were_aliases_is_written_to(url, operator):
    org_id, collection = uuid4(), f"old-{uuid4().hex[:12]}"
    first, second = ElasticsearchSearch(url), ElasticsearchSearch(url)
    index = f"looma-{collection}"
    try:
        await first.index(org_id, collection, [Document("d1", "hello")])
        await operator.indices.delete_alias(index=index, name="*")
        await second.index(org_id, collection, [Document("d2", "hello")])
        await first.index(org_id, collection, [Document("d3", "hello")])
        await first.refresh()
        assert await first.count(org_id, collection) == 3
    finally:
        await asyncio.gather(first.close(), second.close())
