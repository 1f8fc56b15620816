"""The status while parts of the platform are away, stand still, or are somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.ai_services.monitor.status.conftest import CLOSED, STATUS, Site, service, stores_of
from tests.contract.proxy import proxied
from tests.shared.jobs.workplace import until


@asynccontextmanager
async def answering(*words: bytes, again: bool = False) -> AsyncIterator[str]:
    """A server that answers anything by these words, again and again or not at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for word in words:
                writer.write(word)
            while again:
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(words[-1])
            await reader.read()  # until the other side gives up
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_who_is_away_not_ready_or_somebody_else_is_told_apart(site: Site) -> None:
    org = await site.place.organisation()
    await site.serve("auth")
    await site.serve("auth", missing="The database doesn't answer.")
    await site.announce("portrait", f"http://user:secret@{CLOSED}")
    await site.announce("stranger", "no address")
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    async with answering(page) as other, site.monitor() as monitor:
        await site.announce("enrichment", other)
        found = await monitor.found(org)
    assert service(found, "auth")["status"] == "degraded"
    assert sorted(one["wrong"] for one in service(found, "auth")["instances"]) == [
        [],
        ["postgres: The database doesn't answer."],
    ]
    (gone,) = service(found, "portrait")["instances"]
    assert (gone["address"], gone["wrong"]) == (CLOSED, ["does not answer"])
    assert "not as a process of the platform" in str(service(found, "enrichment"))
    assert service(found, "llm") == {"name": "llm", "status": "down", "instances": []}
    assert service(found, "stranger")["status"] == "down"
    assert found["status"] == "degraded"
    assert "llm is down: no instance of it is announced" in found["reasons"]
    assert "secret" not in str(found)
    assert found["budgets"] is None
    assert "llm" in found["unknown"]["budgets"]


async def test_who_stands_still_or_never_ends_is_given_up_and_the_rest_is_told(site: Site) -> None:
    org = await site.place.organisation()
    await site.serve("auth")
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"
    async with answering() as still, answering(*endless, again=True) as talks:
        for name, url in (("portrait", still), ("llm", still), ("enrichment", talks)):
            await site.announce(name, url)
        async with site.monitor() as monitor:
            found = await monitor.found(org)
    assert service(found, "auth")["status"] == "up"
    (instance,) = service(found, "portrait")["instances"]
    assert instance["wrong"] == ["no answer within 1.5 s"]
    assert service(found, "enrichment")["status"] == "down"
    assert found["unknown"] == {"budgets": "no answer within 1.5 s"}
    assert found["jobs"] is not None


async def test_a_store_that_is_away_is_told_beside_those_that_are_there(site: Site) -> None:
    org = await site.place.organisation()
    async with site.monitor(GRAPH_URL=f"bolt://{CLOSED}") as monitor:
        found = await monitor.found(org)
    stores = stores_of(found)
    assert (stores["graph"]["up"], stores["postgres"]["up"]) == (False, True)
    assert stores["graph"]["reason"]
    assert any(reason.startswith("graph is down: ") for reason in found["reasons"])


@pytest.mark.parametrize("hangs", [False, True], ids=["is gone", "stands still"])
async def test_without_postgresql_the_platform_is_down_and_says_so(site: Site, hangs: bool) -> None:
    org = await site.place.organisation()
    await site.serve("auth")
    async with (
        proxied(site.place.url) as (url, proxy),
        site.monitor(DATABASE_URL=url) as monitor,
        monitor.client(org) as http,
    ):
        assert stores_of(await monitor.found(org))["postgres"]["up"]
        if hangs:
            proxy.freeze()
        else:
            await proxy.cut()

        async def down() -> bool:
            return (await monitor.found(org))["status"] == "down"

        await until(down)
        found = await monitor.found(org)
        assert found["reasons"][0].startswith("postgres is down: ")
        assert [found[name] for name in ("jobs", "projections", "next_runs")] == [None] * 3
        assert {"jobs", "projections", "next_runs"} <= found["unknown"].keys()
        assert stores_of(found)["redis"]["up"]
        assert service(found, "auth")["status"] == "up"
        page = await http.get(STATUS, headers={"Accept": "text/html"})
        assert "Looma AI is down" in page.text
        if hangs:
            proxy.thaw()
        else:
            await proxy.start()

        async def back() -> bool:
            return (await monitor.found(org))["jobs"] is not None

        await until(back)


@pytest.mark.parametrize("hangs", [False, True], ids=["is gone", "stands still"])
async def test_without_redis_services_are_those_last_known_or_unknown(
    site: Site, hangs: bool
) -> None:
    org = await site.place.organisation()
    await site.serve("auth")
    async with proxied(site.settings["REDIS_URL"]) as (url, proxy):

        async def away() -> None:
            if hangs:
                proxy.freeze()
            else:
                await proxy.cut()

        async with site.monitor(REDIS_URL=url) as known, site.monitor(REDIS_URL=url) as unknown:
            await known.found(org)
            await away()

            async def told() -> bool:
                return not stores_of(await known.found(org))["redis"]["up"]

            await until(told)
            assert service(await known.found(org), "auth")["status"] == "up"
            found = await unknown.found(org)
            assert found["services"] is None
            assert found["unknown"]["services"]
            assert found["jobs"] is not None
