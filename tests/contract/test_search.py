"""What every search promises, on PostgreSQL 18 and 15 and on Elasticsearch if there is one."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.data_access.ports import Document, Search
from shared.data_access.relational.postgres import Postgres
from shared.data_access.search.postgres import PostgresSearch
from shared.errors import (
    InvalidInput,
    MalformedRequest,
    StoreConflict,
    StoreError,
    StoreUnavailable,
)
from tests.contract.elasticsearch_server import ElasticsearchServer
from tests.contract.proxy import proxied
from tests.contract.texts import NASTY

C = "calls"


class Setup:
    """How to open this adapter, directly or through a proxy."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url

    def open(self, url: str | None = None) -> tuple[Search, list]:
        """The adapter, and what to close after use."""
        if self.kind == "elasticsearch":
            from shared.data_access.search.elasticsearch import ElasticsearchSearch

            search = ElasticsearchSearch(url or self.url)
            return search, [search]
        postgres = Postgres(url or self.url)
        return PostgresSearch(postgres), [postgres]


@pytest.fixture
async def elasticsearch_server() -> AsyncIterator[ElasticsearchServer]:
    server = ElasticsearchServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["embedded", "local", "protocol", "elasticsearch"])
def setup(request: pytest.FixtureRequest) -> Setup:
    if request.param == "protocol":
        return Setup("elasticsearch", request.getfixturevalue("elasticsearch_server").url)
    if request.param == "elasticsearch":
        if "TEST_ELASTICSEARCH_URL" not in os.environ:
            pytest.skip("TEST_ELASTICSEARCH_URL is not set: http://elastic:password@host:9200")
        return Setup("elasticsearch", os.environ["TEST_ELASTICSEARCH_URL"])
    name = {"embedded": "database_url", "local": "local_postgres_url"}[request.param]
    return Setup("postgres", request.getfixturevalue(name))


@pytest.fixture
async def search(setup: Setup) -> AsyncIterator[Search]:
    search, resources = setup.open()
    yield search
    for resource in resources:
        await resource.close()


@pytest.fixture
async def org(search: Search) -> AsyncIterator[UUID]:
    org_id = uuid4()
    yield org_id
    await search.clear(org_id, C)


async def index(search: Search, org_id: UUID, *documents: Document) -> None:
    await search.index(org_id, C, documents)
    await search.refresh()


async def ids(search: Search, org_id: UUID, query: str, **options) -> list[str]:
    page = await search.search(org_id, C, query, **options)
    return [hit.id for hit in page.hits]


async def test_a_hit_has_fields_and_highlight(search, org):
    document = Document("c1", "客户：我要退款，please refund me", {"user_id": "u1"}, "2024-12-04T09:00:00+08:00")  # fmt: skip
    await index(search, org, document)
    (hit,) = (await search.search(org, C, "退款 refunds")).hits
    assert hit.id == "c1"
    assert hit.fields == {"user_id": "u1"}
    assert list(hit.highlights) == ["客户：我要<em>退款</em>，please <em>refund</em> me"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("投诉", True),
        ("我要投诉你们", True),
        ("电话", True),
        ("投诉 电话", True),
        ("投訴", True),
        ("電話是多少", True),
        ("诉", True),
        ("们", True),  # the last of its run
        ("我", True),
        ("诉投", False),
        ("投诉 退款", False),
        ("退", False),
        ("WIFI", True),
        ("wifi密码", True),
        ("passwords", True),
        ("Password's", True),
        ("4s", True),
        ("４Ｓ店", True),  # full-width
        ("cafe\u0301", True),  # e and a combining accent
        ("ÉTUDE", True),
        ("13800138000", True),
        ("1380013", False),
        ("pass", False),
        ("☎", True),
        ("!!! ？", False),
        ("", False),
    ],
)
async def test_all_words_of_a_query_must_occur(search, org, query, found):
    text = "我要投诉你们。投诉电话是多少？WiFi密码 password 4S店 café étude ☎ 13800138000"
    await index(search, org, Document("c1", text), Document("c2", "something else 别的"))
    assert await ids(search, org, query) == (["c1"] if found else [])


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_any_text_can_be_indexed_and_searched(search, org, text):
    document = Document(f"id {text}", f"marker {text}", {"user_id": text, "name": "x"})
    await index(search, org, document)
    for query in ("marker", f"marker {text}"):
        (hit,) = (await search.search(org, C, query, filters={"user_id": text})).hits
        assert (hit.id, hit.fields) == (document.id, dict(document.fields))
    await search.delete(org, C, [document.id])
    await search.refresh()
    assert await search.count(org, C) == 0


async def test_highlights_are_escaped_and_cut(search, org):
    text = "x " * 100 + '<b>refund</b> & "quote" ' + "y " * 100 + "refunded " + "z " * 50
    await index(search, org, Document("c1", text))
    (hit,) = (await search.search(org, C, "refund")).hits
    assert len(hit.highlights) == 2
    first, second = hit.highlights
    assert "&lt;b&gt;<em>refund</em>&lt;/b&gt; &amp; &quot;quote&quot;" in first
    assert first.startswith("…")
    assert first.endswith("…")
    assert "<em>refunded</em>" in second
    assert "<b>" not in "".join(hit.highlights)


async def test_filters_are_exact(search, org):
    await index(
        search,
        org,
        Document("c1", "refund", {"user_id": "u1", "level": "A"}),
        Document("c2", "refund", {"user_id": "u1", "level": "B"}),
        Document("c3", "refund", {"user_id": "u10", "level": "A"}),
        Document("c4", "refund"),
    )
    assert sorted(await ids(search, org, "refund")) == ["c1", "c2", "c3", "c4"]
    assert sorted(await ids(search, org, "refund", filters={"user_id": "u1"})) == ["c1", "c2"]
    assert await ids(search, org, "refund", filters={"user_id": "u1", "level": "B"}) == ["c2"]
    assert await ids(search, org, "refund", filters={"user_id": "u"}) == []
    assert await ids(search, org, "refund", filters={"nothing": "u1"}) == []


async def test_the_newest_come_first_and_by_id_among_equals(search, org):
    await index(
        search,
        org,
        Document("often", "refund refund refund please", at="2020-01-01T00:00:00Z"),
        Document("old", "refund something else please", at="2023-01-01T00:00:00Z"),
        Document("new", "refund something else please", at="2024-01-01T00:00:00+08:00"),
        Document("newer", "refund something else please", at="2023-12-31T17:00:00Z"),
        Document("never", "refund something else please"),
        Document("also never", "refund something else please"),
        Document("ahead", "refund something else please", at="2199-01-01T00:00:00Z"),
        Document("ancient", "refund something else please", at="0001-01-01T00:00:00Z"),
    )
    expected = ["ahead", "newer", "new", "old", "often", "ancient", "also never", "never"]
    assert await ids(search, org, "refund") == expected
    pages = []
    cursor = None
    for _ in expected:
        page = await search.search(org, C, "refund", limit=1, cursor=cursor)
        pages += [hit.id for hit in page.hits]
        cursor = page.next_cursor
    assert (pages, cursor) == (expected, None)


async def test_pages_are_complete_and_without_doubles(search, org):
    documents = [
        Document(f"c{n:03}", "退款 refund " * (1 + n % 3), at=f"2024-01-{1 + n % 5:02}T00:00:00Z")
        for n in range(53)
    ]
    await index(search, org, *documents)
    seen: list[str] = []
    cursor = None
    for _ in range(20):
        page = await search.search(org, C, "退款", limit=10, cursor=cursor)
        seen += [hit.id for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break
        # What comes in between doesn't move what has been seen.
        await index(search, org, Document("c000", documents[0].text, at="2024-01-01T00:00:00Z"))
    assert sorted(seen) == [document.id for document in documents]
    assert seen == await ids(search, org, "退款", limit=100)


_MOMENTS = st.sampled_from([f"2024-01-{day:02}T00:00:00Z" for day in (1, 1, 1, 2, 3, 30)])
_TEXTS = st.sampled_from(["退款", "退款 refund", "refund please", "我要退款 please", "别的"])
_WRITES = st.lists(
    st.tuples(
        st.sampled_from(["again", "insert", "delete"]), st.integers(0, 19), _TEXTS, _MOMENTS
    ),
    max_size=6,
)  # fmt: skip


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(_TEXTS, _MOMENTS), min_size=1, max_size=20),
    st.lists(_WRITES, min_size=1, max_size=12),
    st.integers(1, 7),
)
async def test_what_exists_throughout_is_seen_once_whatever_is_written(
    search, drawn, writes, limit
):
    """Between any two pages documents are written again, added and deleted."""
    org = uuid4()
    there = {f"c{n:02}": Document(f"c{n:02}", *text_at(one)) for n, one in enumerate(drawn)}
    await index(search, org, *there.values())
    throughout = {name for name, one in there.items() if "退款" in one.text}
    known, seen, cursor = dict(there), [], None
    for number in range(200):
        page = await search.search(org, C, "退款", limit=limit, cursor=cursor)
        seen += [hit.id for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break
        for kind, item, text, at in writes[number] if number < len(writes) else ():
            name = f"c{item % len(there):02}"
            if kind == "again" and name in known:
                await search.index(org, C, [known[name]])
            elif kind == "insert":
                await search.index(org, C, [Document(f"new{number:02}-{item}", text, at=at)])
            elif kind == "delete":
                known.pop(name, None)
                throughout.discard(name)
                await search.delete(org, C, [name])
        await search.refresh()
    assert cursor is None
    assert len(set(seen)) == len(seen)
    assert throughout <= set(seen)
    await search.clear(org, C)


async def test_pages_under_writers_at_work_are_complete_and_without_doubles(search, org):
    documents = [
        Document(f"c{n:03}", "退款 refund", {"user_id": "u1"}, f"2024-01-{1 + n % 5:02}T00:00:00Z")
        for n in range(300)
    ]
    await index(search, org, *documents)
    ended = asyncio.Event()

    async def write(number: int) -> None:
        while not ended.is_set():
            for start in range(number, 300, 60):
                again = documents[start : start + 20]
                new = [Document(f"new-{number}-{start}", "退款", at="2024-01-03T12:00:00Z")]
                await search.index(org, C, [*again, *new])
                await search.delete(org, C, [f"new-{number}-{start - 60}"])
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as writers:
        for number in range(3):
            writers.create_task(write(number * 20))
        try:
            seen = await walked(search, org, "退款", limit=7)
        finally:
            ended.set()
    assert len(set(seen)) == len(seen)
    assert {document.id for document in documents} <= set(seen)


async def walked(search: Search, org: UUID, query: str, **options) -> list[str]:
    """The ids on all pages, which must end."""
    seen: list[str] = []
    cursor = None
    for _ in range(1000):
        page = await search.search(org, C, query, cursor=cursor, **options)
        seen += [hit.id for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            return seen
    raise AssertionError("the pages don't end")


def text_at(drawn: tuple[str, str]) -> tuple[str, dict[str, str], str]:
    return drawn[0], {}, drawn[1]


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "!!!", "é", "bnVsbA", "W10",
        base64.urlsafe_b64encode(b'["a", "b"]').decode(),
        base64.urlsafe_b64encode(b'["2024-01-01", "b"]').decode(),
        base64.urlsafe_b64encode(b'[1, "b\\u0000"]').decode(),
        base64.urlsafe_b64encode(b'[1, "\\ud800"]').decode(),
        base64.urlsafe_b64encode(b'[true, "b"]').decode(),
        base64.urlsafe_b64encode(b'[99999999999999999999, "b"]').decode(),
        base64.urlsafe_b64encode(b'[9223372036854775807, "b"]').decode(),
        base64.urlsafe_b64encode(b'[1.5, 1, "b"]').decode(),  # by relevance, as it was
    ],
)  # fmt: skip
async def test_a_cursor_that_is_none_of_ours_is_refused(search, org, cursor):
    with pytest.raises(InvalidInput, match="cursor"):
        await search.search(org, C, "refund", cursor=cursor)


async def test_a_cursor_is_good_for_its_search_only(search, org):
    documents = [Document(f"c{n}", "refund please", {"user_id": "u"}) for n in range(3)]
    await index(search, org, *documents)
    mine = {"user_id": "u"}
    cursor = (await search.search(org, C, "refund", filters=mine, limit=1)).next_cursor
    again = await search.search(org, C, "refund", filters=mine, limit=2, cursor=cursor)
    assert [hit.id for hit in again.hits] == ["c1", "c2"]
    for whose, collection, query, filters in (
        (uuid4(), C, "refund", mine),
        (org, "chats", "refund", mine),
        (org, C, "please", mine),
        (org, C, "refund", {"user_id": "v"}),
        (org, C, "refund", {"customer_id": "u"}),
        (org, C, "refund", None),
    ):
        with pytest.raises(MalformedRequest, match="start again"):
            await search.search(whose, collection, query, filters=filters, cursor=cursor)


async def test_a_cursor_of_before_says_start_again(search, org):
    for before in (b'[1733275800000000, "b"]', b'[1.5, 1, "b"]'):
        cursor = base64.urlsafe_b64encode(before).decode().rstrip("=")
        with pytest.raises(MalformedRequest, match="start again"):
            await search.search(org, C, "refund", cursor=cursor)


@pytest.mark.parametrize(
    "key",
    [
        [], [1], [1, "b", 2], ["1", "b"], [True, "b"], [1.5, "b"], [None, "b"], [1, None],
        [1, 2], [1, "b\0"], [2**61, "b"], [-(2**61), "b"], [2**64, "b"],
    ],
)  # fmt: skip
async def test_a_cursor_with_a_place_that_is_none_is_refused(search, org, key):
    await index(search, org, Document("c1", "refund"), Document("c2", "refund"))
    cursor = (await search.search(org, C, "refund", limit=1)).next_cursor
    version, mark, *_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps([version, mark, *key]).encode()).decode()
    with pytest.raises(InvalidInput, match="cursor"):
        await search.search(org, C, "refund", cursor=forged)


async def test_a_query_may_be_long_but_not_endless(search, org):
    words = "很长的查询 " * 80
    await index(search, org, Document("c1", words))
    assert await ids(search, org, words[:500]) == ["c1"]
    with pytest.raises(InvalidInput, match="too long"):
        await search.search(org, C, "x" * 501)


async def test_a_time_that_is_none_is_refused(search, org):
    with pytest.raises(InvalidInput, match="time"):
        await search.index(org, C, [Document("c1", "x", at="yesterday")])


async def test_indexing_again_replaces(search, org):
    await index(search, org, Document("c1", "old words", {"user_id": "u1"}))
    await index(
        search, org, Document("c1", "stale"), Document("c1", "new words", {"user_id": "u2"})
    )
    assert await ids(search, org, "old") == []
    assert await ids(search, org, "stale") == []
    assert await ids(search, org, "new", filters={"user_id": "u1"}) == []
    assert await ids(search, org, "new", filters={"user_id": "u2"}) == ["c1"]
    assert await search.count(org, C) == 1


async def test_deletion_and_unknown_things(search, org):
    page = await search.search(org, C, "refund")
    assert (list(page.hits), page.next_cursor) == ([], None)
    assert await ids(search, org, "refund") == []
    assert await search.count(org, C) == 0
    await search.delete(org, C, ["unknown"])
    await search.delete(org, C, [])
    await search.index(org, C, [])
    await search.clear(org, C)
    await index(search, org, *(Document(f"c{n}", "refund") for n in range(5)))
    await search.delete(org, C, ["c0", "c1", "unknown"])
    await search.refresh()
    assert sorted(await ids(search, org, "refund")) == ["c2", "c3", "c4"]
    await search.clear(org, C)
    await search.refresh()
    assert await ids(search, org, "refund") == []
    assert await search.count(org, C) == 0


async def test_collections_are_apart(search, org):
    await search.index(org, "chats", [Document("c1", "refund")])
    await index(search, org, Document("c2", "refund"))
    assert await ids(search, org, "refund") == ["c2"]
    await search.clear(org, C)
    assert await search.count(org, "chats") == 1
    await search.clear(org, "chats")


async def test_another_organisation_sees_and_changes_nothing(search, org):
    other = uuid4()
    await index(search, org, Document("c1", "secret refund", {"user_id": "u1"}))
    page = await search.search(org, C, "refund", limit=1)
    assert await ids(search, other, "refund") == []
    assert await ids(search, other, "refund", filters={"user_id": "u1"}) == []
    assert await search.count(other, C) == 0
    await search.delete(other, C, ["c1"])
    await search.clear(other, C)
    await index(search, other, Document("c1", "mine"))
    assert await ids(search, org, "secret") == ["c1"]
    assert page.next_cursor is None
    await search.clear(other, C)
    await search.refresh()
    assert await search.count(org, C) == 1


async def test_big_batches_and_big_texts(search, org):
    documents = [Document(f"c{n}", f"word{n} 退款") for n in range(2500)]
    await index(search, org, *documents)
    assert await search.count(org, C) == 2500
    assert await ids(search, org, "word2499 退款") == ["c2499"]
    big = "很长的通话记录。word " * 20_000
    await index(search, org, Document("big", big + " tail"), Document("zero", "nul\0char refund"))
    assert await ids(search, org, "通话记录") == ["big"]
    assert await ids(search, org, "char refund") == ["zero"]


async def test_down_at_the_start_and_back_later(setup):
    async with proxied(setup.url) as (through, proxy):
        await proxy.cut()
        search, resources = setup.open(through)
        try:
            for call in (
                search.ping(),
                search.search(uuid4(), C, "refund"),
                search.index(uuid4(), C, [Document("c1", "x")]),
            ):
                started = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await call
                assert time.monotonic() - started < 3
            await proxy.start()
            await search.ping()
            assert await ids(search, uuid4(), "refund") == []
            await proxy.cut()
            await proxy.start()
            assert await ids(search, uuid4(), "refund") == []
        finally:
            for resource in resources:
                await resource.close()


async def test_a_server_that_hangs_is_unavailable_soon(setup):
    async with proxied(setup.url) as (through, proxy):
        search, resources = setup.open(through)
        try:
            await search.ping()
            proxy.freeze()
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await search.search(uuid4(), C, "refund")
            assert time.monotonic() - started < 3
            proxy.thaw()
            await search.ping()
        finally:
            for resource in resources:
                await resource.close()


async def test_cancellation_in_the_middle_leaves_a_working_adapter(search, org):
    documents = [Document(f"c{n}", "退款 refund") for n in range(3000)]
    for pause in (0, 0.01, 0.1):
        task = asyncio.create_task(search.index(org, C, documents))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task])
    await index(search, org, *documents)
    assert await search.count(org, C) == 3000


class TestElasticsearchRefusals:
    """What Elasticsearch's own errors become."""

    @pytest.mark.parametrize(
        ("refusal", "expected"),
        [
            (("security_exception", 401), StoreUnavailable),
            (("es_rejected_execution_exception", 429), StoreUnavailable),
            (("cluster_block_exception", 403), StoreUnavailable),
            (("unavailable_shards_exception", 503), StoreUnavailable),
            (("version_conflict_engine_exception", 409), StoreConflict),
            (("parsing_exception", 400), StoreError),
            (("search_phase_execution_exception", 500), StoreError),
        ],
    )
    async def test_kinds(self, elasticsearch_server, refusal, expected, capsys):
        search, _ = Setup("elasticsearch", elasticsearch_server.url).open()
        await search.index(uuid4(), C, [Document("c1", "x")])
        elasticsearch_server.fail_with = refusal
        try:
            for call in (search.search(uuid4(), C, "refund"), search.clear(uuid4(), C)):
                with pytest.raises(expected) as caught:
                    await call
                assert type(caught.value) is expected
                assert "secret" not in caught.value.message
        finally:
            await search.close()
        assert "secret" not in capsys.readouterr().out


async def test_an_elasticsearch_index_that_was_deleted_is_made_again(elasticsearch_server):
    org_id, search = uuid4(), Setup("elasticsearch", elasticsearch_server.url).open()[0]
    try:
        await search.index(org_id, C, [Document("c1", "refund")])
        elasticsearch_server.remove(f"looma-{C}")
        await search.delete(org_id, C, ["c1"])
        elasticsearch_server.remove(f"looma-{C}")
        await search.clear(org_id, C)
        await search.index(org_id, C, [Document("c2", "refund")])
        assert await ids(search, org_id, "refund") == ["c2"]
    finally:
        await search.close()


class TestRowPolicies:
    """What only the PostgreSQL adapter has to prove."""

    @pytest.fixture
    async def postgres(self, database_url: str) -> AsyncIterator[Postgres]:
        postgres = Postgres(database_url)
        yield postgres
        await postgres.close()

    async def test_raw_sql_of_another_tenant_sees_nothing(self, postgres):
        org, other = uuid4(), uuid4()
        await PostgresSearch(postgres).index(org, C, [Document("c1", "secret")])
        async with postgres.tenant(other) as tx:
            assert await tx.fetch("SELECT * FROM search_document") == []
            assert await tx.execute("DELETE FROM search_document") == 0
        with pytest.raises(StoreError):
            async with postgres.tenant(other) as tx:
                await tx.execute(
                    "INSERT INTO search_document (org_id, collection, id, text, fields, at, terms) "
                    "VALUES ($1, 'calls', 'x', '', '{}', 0, '')",
                    org,
                )

    async def test_the_index_is_used(self, postgres):
        from shared.data_access.search import postgres as search_postgres
        from shared.data_access.search.terms import words
        from shared.data_access.search.vector import Place
        from shared.data_access.search.walk import Span

        org = uuid4()
        search = PostgresSearch(postgres)
        await search.index(org, C, [Document(f"c{n}", f"word{n} common") for n in range(3000)])
        where, what = Place(org, C).query(words("common"), {}, Span.around(0, 3))
        async with postgres.system() as tx:
            await tx.execute(search_postgres._PLANNER)
            plan = await tx.fetch(
                "EXPLAIN " + search_postgres._MATCHES, org, C, where, what, {}, 10
            )
            walk = await tx.fetch(
                "EXPLAIN " + search_postgres._IN_ORDER, org, C, what, {}, 0, 10, "", 10
            )
        assert any("search_document_terms" in row["QUERY PLAN"] for row in plan)
        assert any("search_document_at" in row["QUERY PLAN"] for row in walk)
