"""What every vector store promises, on pgvector and on Weaviate if there is one."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.data_access.ports import VectorItem, Vectors
from shared.data_access.relational.postgres import Postgres
from shared.data_access.vectors.pgvector import PgVectors
from shared.errors import ConfigError, InvalidInput, StoreError, StoreUnavailable
from tests.contract.proxy import proxied, proxied_grpc
from tests.contract.texts import NASTY

C, V = "users", "hgt-1"


class Setup:
    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url

    def open(self, url: str | None = None) -> tuple[Vectors, list]:
        """The adapter, and what to close after use."""
        if self.kind == "weaviate":
            from shared.data_access.vectors.weaviate import WeaviateVectors

            vectors = WeaviateVectors(url or self.url)
            return vectors, [vectors]
        postgres = Postgres(url or self.url)
        # The second kind takes the index for every set that has a vector.
        limit = {"exact": 20_000, "local": 20_000, "indexed": 1}[self.kind]
        return PgVectors(postgres, exact_up_to=limit), [postgres]


async def has_pgvector(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
        )
    finally:
        await connection.close()


@pytest.fixture
async def weaviate_server() -> AsyncIterator[Any]:
    from tests.contract.weaviate_server import WeaviateServer

    server = WeaviateServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["exact", "indexed", "local", "protocol", "weaviate"])
def setup(request: pytest.FixtureRequest) -> Setup:
    if request.param == "protocol":
        return Setup("weaviate", request.getfixturevalue("weaviate_server").url)
    if request.param == "weaviate":
        if "TEST_WEAVIATE_URL" not in os.environ:
            pytest.skip("TEST_WEAVIATE_URL is not set: http://weaviate:8080?grpc=weaviate:50051")
        return Setup("weaviate", os.environ["TEST_WEAVIATE_URL"])
    if request.param == "local":
        return Setup("local", request.getfixturevalue("local_postgres_url"))
    return Setup(request.param, request.getfixturevalue("database_url"))


@pytest.fixture
async def vectors(setup: Setup) -> AsyncIterator[Vectors]:
    if setup.kind == "local" and not await has_pgvector(setup.url):
        pytest.skip("the PostgreSQL at TEST_POSTGRES_URL has no pgvector")
    vectors, resources = setup.open()
    yield vectors
    for resource in resources:
        await resource.close()


@pytest.fixture
async def org(vectors: Vectors) -> AsyncIterator[UUID]:
    org_id = uuid4()
    yield org_id
    await vectors.clear(org_id, C)


def unit(angle: float, dim: int = 64) -> list[float]:
    """A vector in a plane of `dim` dimensions: similarities are cosines of differences."""
    return [math.cos(angle), math.sin(angle), *([0.0] * (dim - 2))]


def near(first: Sequence[float], second: Sequence[float]) -> bool:
    return len(first) == len(second) and all(
        math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(first, second, strict=True)
    )


async def test_items_come_back_as_they_went_in(vectors, org):
    generator = random.Random(1)
    properties = {"name": "王", "age": 42, "score": 0.25, "active": True}
    items = {
        f"u{n}": VectorItem(f"u{n}", [generator.gauss(0, 3) for _ in range(64)], properties)
        for n in range(3)
    }
    await vectors.upsert(org, C, V, list(items.values()))
    found = await vectors.get(org, C, V, ["u0", "u2", "unknown"])
    assert found.keys() == {"u0", "u2"}
    for key, item in found.items():
        assert item.id == key
        assert item.properties == properties
        assert near(item.vector, items[key].vector)
    assert await vectors.count(org, C, V) == 3


async def test_search_is_by_cosine_nearest_first(vectors, org):
    angles = {"a": 0.0, "b": 0.3, "c": 1.5, "d": 3.1}
    items = [
        VectorItem(key, [value * (n + 1) for value in unit(angle)], {"n": n})
        for n, (key, angle) in enumerate(angles.items())
    ]
    await vectors.upsert(org, C, V, items)
    hits = await vectors.search(org, C, V, unit(0.1), limit=4)
    assert [hit.id for hit in hits] == ["a", "b", "c", "d"]
    for hit in hits:
        assert math.isclose(hit.similarity, math.cos(angles[hit.id] - 0.1), abs_tol=1e-5)
    assert hits[1].properties == {"n": 1}
    assert [hit.id for hit in await vectors.search(org, C, V, unit(0.1), limit=2)] == ["a", "b"]


async def test_filters_are_exact(vectors, org):
    items = [
        VectorItem("a", unit(0.0), {"level": "A", "age": 1, "active": True, "score": 0.5}),
        VectorItem("b", unit(0.1), {"level": "B", "age": 10, "active": False, "score": 1.0}),
        VectorItem("c", unit(0.2), {"level": "A B", "age": 1}),
        VectorItem("d", unit(0.3)),
    ]
    await vectors.upsert(org, C, V, items)

    async def found(**where) -> list[str]:
        return [hit.id for hit in await vectors.search(org, C, V, unit(0.0), where=where)]

    assert await found() == ["a", "b", "c", "d"]
    assert await found(level="A") == ["a"]
    assert await found(age=1) == ["a", "c"]
    assert await found(age=1.0) == ["a", "c"]
    assert await found(score=1) == ["b"]
    assert await found(active=True) == ["a"]
    assert await found(age=1, level="A") == ["a"]
    assert await found(level="a") == []
    assert await found(active=1) == []
    assert await found(nothing="A") == []


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_any_text_is_an_id_and_a_value(vectors, org, text):
    await vectors.upsert(org, C, V, [VectorItem(text, unit(1), {"name": text})])
    (hit,) = await vectors.search(org, C, V, unit(1), where={"name": text})
    assert (hit.id, hit.properties) == (text, {"name": text})
    assert (await vectors.get(org, C, V, [text])).keys() == {text}
    await vectors.delete(org, C, [text])
    assert await vectors.count(org, C, V) == 0


async def test_collections_and_model_versions_are_apart(vectors, org):
    await vectors.upsert(org, C, "v1", [VectorItem("a", unit(0.0), {"v": 1})])
    await vectors.upsert(org, C, "v/2 β", [VectorItem("a", unit(0.5, 32), {"v": 2})])
    await vectors.upsert(org, "things", "v1", [VectorItem("a", unit(1.0), {"v": 3})])
    assert (await vectors.search(org, C, "v1", unit(0.0)))[0].properties == {"v": 1}
    assert (await vectors.search(org, C, "v/2 β", unit(0.5, 32)))[0].properties == {"v": 2}
    assert (await vectors.search(org, "things", "v1", unit(0.0)))[0].properties == {"v": 3}
    assert await vectors.search(org, C, "v3", unit(0.0)) == []
    await vectors.delete(org, C, ["a"])  # in every version
    assert await vectors.count(org, C, "v1") == 0
    assert await vectors.count(org, C, "v/2 β") == 0
    assert await vectors.count(org, "things", "v1") == 1
    await vectors.clear(org, "things")
    assert await vectors.count(org, "things", "v1") == 0


@pytest.mark.parametrize("dim", [2, 3, 32, 100, 1024, 2048])
async def test_any_dimension(vectors, org, dim):
    await vectors.upsert(org, C, f"d{dim}", [VectorItem(f"u{n}", unit(n, dim)) for n in range(5)])
    hits = await vectors.search(org, C, f"d{dim}", unit(3.1, dim), limit=1)
    assert [hit.id for hit in hits] == ["u3"]


async def test_an_upsert_replaces(vectors, org):
    await vectors.upsert(org, C, V, [VectorItem("a", unit(0.0), {"n": 1, "m": 1})])
    await vectors.upsert(
        org, C, V, [VectorItem("a", unit(2.0), {"n": 0}), VectorItem("a", unit(1.0), {"n": 2})]
    )
    (hit,) = await vectors.search(org, C, V, unit(1.0))
    assert (hit.id, hit.properties) == ("a", {"n": 2})
    assert math.isclose(hit.similarity, 1.0, abs_tol=1e-5)
    assert await vectors.count(org, C, V) == 1


async def test_unknown_and_empty_things(vectors, org):
    assert await vectors.search(org, C, V, unit(1.0)) == []
    assert await vectors.get(org, C, V, ["a"]) == {}
    assert await vectors.get(org, C, V, []) == {}
    assert await vectors.count(org, C, V) == 0
    await vectors.upsert(org, C, V, [])
    await vectors.delete(org, C, ["a"])
    await vectors.delete(org, C, [])
    await vectors.clear(org, C)
    await vectors.upsert(org, C, V, [VectorItem("a", unit(1.0))])
    await vectors.delete(org, C, ["unknown"])
    assert await vectors.count(org, C, V) == 1


@pytest.mark.parametrize(
    "vector", [[], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1e30, 1.0], [1e-30, 0.0]]
)
async def test_a_vector_without_direction_is_refused(vectors, org, vector):
    with pytest.raises(InvalidInput):
        await vectors.upsert(org, C, V, [VectorItem("a", vector)])
    with pytest.raises(InvalidInput):
        await vectors.search(org, C, V, vector)


async def test_another_organisation_sees_and_changes_nothing(vectors, org):
    other = uuid4()
    await vectors.upsert(org, C, V, [VectorItem("a", unit(1.0), {"secret": "x"})])
    await vectors.upsert(other, C, V, [VectorItem(f"o{n}", unit(1.0 + n / 100)) for n in range(20)])
    assert [hit.id for hit in await vectors.search(org, C, V, unit(1.0))] == ["a"]
    assert "a" not in {hit.id for hit in await vectors.search(other, C, V, unit(1.0), limit=100)}
    assert await vectors.get(other, C, V, ["a"]) == {}
    await vectors.delete(other, C, ["a"])
    await vectors.clear(other, C)
    assert await vectors.count(other, C, V) == 0
    assert await vectors.count(org, C, V) == 1


async def test_a_small_organisation_is_found_among_a_large_one(vectors, org):
    """The large one's vectors are all nearer to the question."""
    other = uuid4()
    generator = random.Random(2)
    crowd = [VectorItem(f"o{n}", unit(generator.uniform(-0.1, 0.1))) for n in range(1500)]
    await vectors.upsert(other, C, V, crowd)
    ours = [VectorItem(f"u{n}", unit(2 + n / 10), {"even": n % 2 == 0}) for n in range(10)]
    await vectors.upsert(org, C, V, ours)
    hits = await vectors.search(org, C, V, unit(0.0), limit=10)
    assert [hit.id for hit in hits] == [f"u{n}" for n in range(10)]
    hits = await vectors.search(org, C, V, unit(0.0), limit=3, where={"even": True})
    assert [hit.id for hit in hits] == ["u0", "u2", "u4"]
    await vectors.clear(other, C)


async def test_down_at_the_start_and_back_later(setup, vectors):
    async with proxied(setup.url) as (through, proxy):
        await proxy.cut()
        adapter, resources = setup.open(through)
        try:
            for call in (
                adapter.ping(),
                adapter.search(uuid4(), C, V, unit(1.0)),
                adapter.upsert(uuid4(), C, V, [VectorItem("a", unit(1.0))]),
            ):
                started = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await call
                assert time.monotonic() - started < 3
            await proxy.start()
            await adapter.ping()
            assert await adapter.search(uuid4(), C, V, unit(1.0)) == []
        finally:
            for resource in resources:
                await resource.close()


async def found(vectors: Vectors, org_id: UUID) -> bool:
    with suppress(StoreUnavailable):
        return bool(await vectors.search(org_id, C, V, unit(1.0)))
    return False


@pytest.mark.parametrize(
    ("setup", "away"), [("protocol", "is gone"), ("weaviate", "hangs")], indirect=["setup"]
)
async def test_weaviate_is_down_if_only_its_grpc_is(setup, vectors, away):
    """As behind a firewall that lets HTTP through: nobody waits for it twice."""
    org_id = uuid4()
    await vectors.upsert(org_id, C, V, [VectorItem("a", unit(1.0))])
    async with proxied_grpc(setup.url) as (through, proxy):
        adapter, resources = setup.open(through)
        try:
            assert await found(adapter, org_id)
            if away == "hangs":
                proxy.freeze()
            else:
                await proxy.cut()
            with pytest.raises(StoreUnavailable):
                await adapter.search(org_id, C, V, unit(1.0))
            async with asyncio.timeout(10):
                while adapter.guard.up:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.05)
            refused = adapter.guard.refused
            for call in (adapter.search(org_id, C, V, unit(1.0)), adapter.ping()):
                with pytest.raises(StoreUnavailable):
                    await call
            assert adapter.guard.refused > refused, "it is not asked again"
            if away == "hangs":
                proxy.thaw()
            else:
                await proxy.start()
            async with asyncio.timeout(20):
                while not await found(adapter, org_id):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.05)
            await adapter.ping()
            assert adapter.guard.up
        finally:
            for resource in resources:
                await resource.close()
    await vectors.clear(org_id, C)


async def test_cancellation_in_the_middle_leaves_a_working_adapter(vectors, org):
    items = [VectorItem(f"u{n}", unit(n / 100)) for n in range(300)]
    for pause in (0, 0.005, 0.05):
        task = asyncio.create_task(vectors.upsert(org, C, V, items))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task])
    await vectors.upsert(org, C, V, items)
    assert await vectors.count(org, C, V) == 300


class TestWeaviateRefusals:
    """What Weaviate's own errors become, and how soon."""

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("UNAVAILABLE", StoreUnavailable),
            ("DEADLINE_EXCEEDED", StoreUnavailable),
            ("RESOURCE_EXHAUSTED", StoreUnavailable),
            ("UNAUTHENTICATED", StoreUnavailable),
            ("PERMISSION_DENIED", StoreUnavailable),
            ("UNKNOWN", StoreError),
            ("INVALID_ARGUMENT", StoreError),
        ],
    )
    async def test_kinds(self, weaviate_server, code, expected, capsys):
        import grpc

        vectors, _ = Setup("weaviate", weaviate_server.url).open()
        org_id = uuid4()
        try:
            await vectors.upsert(org_id, C, V, [VectorItem("a", unit(1.0))])
            weaviate_server.fail_with = grpc.StatusCode[code]
            started = time.monotonic()
            with pytest.raises(expected) as caught:
                await vectors.search(org_id, C, V, unit(1.0))
            assert time.monotonic() - started < 3
            assert type(caught.value) is expected
            assert "secret" not in caught.value.message
        finally:
            await vectors.close()
        assert "secret" not in capsys.readouterr().out


class TestPgvector:
    """What only the PostgreSQL adapter has to prove."""

    async def test_raw_sql_of_another_tenant_sees_nothing(self, database_url):
        postgres = Postgres(database_url)
        org, other = uuid4(), uuid4()
        try:
            await PgVectors(postgres).upsert(org, C, V, [VectorItem("a", unit(1.0))])
            async with postgres.tenant(other) as tx:
                assert await tx.fetch("SELECT * FROM vector_item") == []
                assert await tx.execute("DELETE FROM vector_item") == 0
            with pytest.raises(StoreError):
                async with postgres.tenant(other) as tx:
                    await tx.execute(
                        "INSERT INTO vector_item VALUES ($1, 'c', 'v', 'x', 2, '[1,2]', '{}')", org
                    )
        finally:
            await postgres.close()

    async def test_a_postgres_without_pgvector_says_what_to_do(self, local_postgres_url):
        if await has_pgvector(local_postgres_url):
            pytest.skip("the PostgreSQL at TEST_POSTGRES_URL has pgvector")
        postgres = Postgres(local_postgres_url)
        try:
            with pytest.raises(ConfigError, match="VECTOR_URL"):
                await PgVectors(postgres).ping()
            await postgres.ping()  # the tables of everybody else are there
        finally:
            await postgres.close()

    async def test_the_index_finds_nearly_all_that_comparing_finds(self, database_url):
        postgres = Postgres(database_url)
        generator = random.Random(3)
        org = uuid4()
        items = [
            VectorItem(f"u{n}", [generator.gauss(0, 1) for _ in range(64)], {"k": n % 4})
            for n in range(2000)
        ]
        try:
            exact, indexed = PgVectors(postgres), PgVectors(postgres, exact_up_to=10)
            await exact.upsert(org, C, V, items)
            found = 0
            for n in range(20):
                question = [generator.gauss(0, 1) for _ in range(64)]
                where = {"k": n % 4} if n % 2 else None
                truth = await exact.search(org, C, V, question, where=where)
                answer = await indexed.search(org, C, V, question, where=where)
                assert len(answer) == 10
                found += len({hit.id for hit in truth} & {hit.id for hit in answer})
            assert found >= 190
        finally:
            await postgres.close()
