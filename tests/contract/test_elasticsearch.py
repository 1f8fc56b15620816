"""What only a real Elasticsearch does."""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

import pytest

from shared.data_access.ports import Document


async def test_a_search_in_the_first_moments_of_an_index_is_answered():
    url = os.environ.get("TEST_ELASTICSEARCH_URL")
    if url is None:
        pytest.skip("TEST_ELASTICSEARCH_URL is not set: http://[user:password@]host:9200")
    from shared.data_access.search_elasticsearch import ElasticsearchSearch

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
