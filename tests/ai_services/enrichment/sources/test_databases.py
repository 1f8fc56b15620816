"""Both kinds of database, by one suite: read only, names checked, errors told without secrets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from ai_services.enrichment.sources.databases.mysql import MySql
from ai_services.enrichment.sources.databases.postgresql import PostgreSql
from ai_services.enrichment.sources.databases.statement import Order, Statement, Window
from shared.errors import UpstreamError, UpstreamUnavailable
from tests.ai_services.enrichment.sources.dialler import Dialler
from tests.ports import free_port

TIMES = [f"2024-12-0{1 + number // 4} 10:00:0{number % 3}" for number in range(9)]


@dataclass
class Place:
    database: Any
    run: Callable[[str], Awaitable[Any]]
    time_type: str


@pytest.fixture
async def mysql_place(source: Dialler) -> Place:
    database = MySql("s", source.host, source.port, "root", source.name, "", 5.0)
    return await _filled(Place(database, source.run, "datetime"))


@pytest.fixture
async def postgresql_place(local_postgres_url: str) -> AsyncIterator[Place]:
    at = urlsplit(local_postgres_url)
    admin = await asyncpg.connect(local_postgres_url)
    database = PostgreSql(
        "s", str(at.hostname), at.port or 5432, str(at.username), at.path[1:], at.password, 5.0
    )
    yield await _filled(Place(database, admin.execute, "timestamp"))
    await admin.close()


async def _filled(made: Place) -> Place:
    await made.run(
        f"CREATE TABLE calls (id int PRIMARY KEY, at {made.time_type} NOT NULL, said text)"
    )
    await made.run("CREATE INDEX calls_at ON calls (at)")
    for number, at_time in enumerate(TIMES):
        await made.run(f"INSERT INTO calls VALUES ({number}, '{at_time}', 'n{number}')")
    return made


@pytest.fixture(params=["mysql", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


async def test_pages_come_in_order_and_each_row_once(place: Place) -> None:
    order = Order(("at", "id"), (place.time_type, "int4"))
    window = Window("at", place.time_type, "2024-12-01 00:00:00", "2024-12-03 00:00:00")
    found: list[Any] = []
    async with place.database.connect() as connection:
        after = None
        while rows := await connection.page("calls", ["id", "at"], order, window, after, 2):
            found += rows
            after = (rows[-1][1], rows[-1][0])
        assert await connection.count("calls", window) == 8
    expected = sorted((at, number) for number, at in enumerate(TIMES) if at < "2024-12-03")
    assert [(str(at)[:19], int(number)) for number, at in found] == expected


async def test_the_catalogue_is_read(place: Place) -> None:
    async with place.database.connect() as connection:
        assert "calls" in await connection.tables()
        table = await connection.table("calls")
        assert await connection.table("nothing") is None
    assert table is not None
    assert list(table.columns) == ["id", "at", "said"]
    assert list(table.unique) == ["id"]
    assert table.indexed == {"id", "at"}


async def test_rows_of_keys_come_by_key(place: Place) -> None:
    async with place.database.connect() as connection:
        rows = await connection.matching(
            "calls", ["said", "id"], "said", ["n3", "n1", "x'; --"], "id"
        )
    assert [tuple(row) for row in rows] == [("n1", "1"), ("n3", "3")]


async def test_a_connection_can_change_nothing(place: Place) -> None:
    """Whatever its user may: that is the administrator's here."""
    async with place.database.connect() as connection:
        with pytest.raises(UpstreamError, match=r"(?i)read.only"):
            await connection._fetch(Statement("DELETE FROM calls"))
    async with place.database.connect() as connection:
        assert await connection.count("calls", Window("at", place.time_type, None, None)) == 9


async def test_a_missing_table_or_column_is_refused_by_name(place: Place) -> None:
    order, window = Order(("id",), ("int4",)), Window("at", place.time_type, None, None)
    async with place.database.connect() as connection:
        with pytest.raises(UpstreamError, match="nothing"):
            await connection.page("nothing", ["id"], order, window, None, 2)
    async with place.database.connect() as connection:
        with pytest.raises(UpstreamError, match="ghost"):
            await connection.page("calls", ["ghost"], order, window, None, 2)


async def test_a_wrong_password_is_told_without_it(place: Place) -> None:
    if isinstance(place.database, PostgreSql):
        pytest.skip("the PostgreSQL of the tests trusts everybody")
    wrong = replace(place.database, user="nobody-here", password="hunter2-secret")
    with pytest.raises(UpstreamError, match="password") as raised:
        async with wrong.connect():
            pass
    told: BaseException | None = raised.value
    while told is not None:
        assert "hunter2" not in repr(told) + str(told)
        told = told.__cause__
    assert not isinstance(raised.value, UpstreamUnavailable)
    assert "hunter2" not in repr(wrong)


async def test_a_server_that_is_not_there_is_away(place: Place) -> None:
    away = replace(place.database, host="127.0.0.1", port=free_port())
    with pytest.raises(UpstreamUnavailable, match="Source s"):
        async with away.connect():
            pass


async def test_a_query_that_takes_too_long_is_given_up(place: Place) -> None:
    slow = "SELECT sleep(5)" if isinstance(place.database, MySql) else "SELECT pg_sleep(5)"
    quick = replace(place.database, timeout_s=0.2)
    async with quick.connect() as connection:
        with pytest.raises(UpstreamUnavailable, match="in time"):
            await connection._fetch(Statement(slow))


async def test_a_server_without_tls_is_told_of_where_it_is_wanted(mysql_place: Place) -> None:
    wanted = replace(mysql_place.database, tls=ssl.create_default_context())
    with pytest.raises(UpstreamError, match="TLS") as raised:
        async with wanted.connect():
            pass
    assert "`tls`" in raised.value.message
