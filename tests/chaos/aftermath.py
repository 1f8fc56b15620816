"""What must hold after a drill: nothing lost, nothing twice, all that is derived caught up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from neo4j import AsyncGraphDatabase

from tests.chaos import recompute
from tests.chaos.records import Ledger, Record, Records
from tests.chaos.site import Site

_CATCHES_UP_WITHIN_S = 90.0
_TRANSCRIPTS_READ = 25
_EDGES = (
    "MATCH (a:Account {org_id: $org})-[e:CALLED]->(c:Customer {org_id: $org}) "
    "RETURN a.id AS user, c.id AS customer, e.calls AS calls"
)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was found; all lists are empty if the platform kept its word."""

    lost: list[str]
    doubled: list[str]
    torn: list[tuple[str, ...]]
    portraits: int
    wrong: list[str]  # portraits and projections that differ from what the calls say


async def look(site: Site, records: Records, ledger: Ledger) -> Aftermath:
    """Read everything of the drill back, once what follows calls has come to rest."""
    async with site.requests() as client:
        calls = await analysed(client, records.users)
        wrong = await transcripts(client, records.word, ledger, calls)
        wait = {"Prefer": "wait=50"}
        done = await expect(client, "POST", "/api/v1/admin/compute", json={}, headers=wait)
        assert "computed" in done, f"portraits were not computed in time: {done}"
        compared, differing = await portraits(client, calls)
        wrong += differing + await searched(client, records, calls)
    wrong += await graph(site, records.users, calls) + await vectors(site, calls)
    wrong += await letters(site)
    return Aftermath(ledger.lost(calls), ledger.doubled(calls), ledger.torn(calls), compared, wrong)


async def expect(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
    """The data of an answer that must be a success: the drill is over."""
    answer = await client.request(method, path, **more, timeout=60)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
    return answer.json()["data"]


async def pages(client: httpx.AsyncClient, path: str, items: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = await expect(client, "GET", path + cursor)
        found += page[items]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={quote(page['next_cursor'], safe='')}"


async def analysed(client: httpx.AsyncClient, users: list[str]) -> list[Record]:
    """All calls of these users, once every transcript has been analysed."""
    deadline = time.monotonic() + _CATCHES_UP_WITHIN_S
    while True:
        calls = [
            call
            for user in users
            for call in await pages(client, f"/api/v1/calls?limit=500&user_id={user}", "calls")
        ]
        if all(call["analyzer"] is not None for call in calls if call["has_transcript"]):
            return calls
        assert time.monotonic() < deadline, "transcripts still wait for their analysis"
        await asyncio.sleep(0.3)


async def transcripts(
    client: httpx.AsyncClient, word: str, ledger: Ledger, calls: list[Record]
) -> list[str]:
    """Read some calls with their words: those of doubtful requests, and the latest."""
    spoken = [call["callid"] for call in calls if call["has_transcript"]]
    doubtful = [callid for callid in spoken if callid not in ledger.acknowledged]
    wrong = []
    for callid in [*doubtful, *spoken[-_TRANSCRIPTS_READ:]][: 2 * _TRANSCRIPTS_READ]:
        turns = (await expect(client, "GET", f"/api/v1/calls/{callid}"))["turns"]
        if len(turns) != 2 or word not in turns[1]["text"]:
            wrong.append(f"transcript of {callid}: {turns}")
    return wrong


async def portraits(client: httpx.AsyncClient, calls: list[Record]) -> tuple[int, list[str]]:
    """(portraits compared, where they differ from a recomputation)."""
    wrong = []
    expected = recompute.by_portrait(calls)
    for (user, period_type, key), theirs in expected.items():
        path = f"/api/v1/portrait/{user}?period_type={period_type}&period_key={key}"
        got = await expect(client, "GET", path)
        want = recompute.expected(theirs)
        wrong += recompute.differences(want, {name: got[name] for name in want}, f"{user} {key}")
    return len(expected), wrong


async def searched(client: httpx.AsyncClient, records: Records, calls: list[Record]) -> list[str]:
    """The drill's word is found in each call that has it, once."""
    want = Counter(call["callid"] for call in calls if call["has_transcript"])
    path = f"/api/v1/calls/search?limit=100&q={records.word}"

    async def found() -> Counter[Any]:
        return Counter(hit["callid"] for hit in await pages(client, path, "hits"))

    return await caught_up("search", found, want)


async def graph(site: Site, users: list[str], calls: list[Record]) -> list[str]:
    want = Counter((call["user_id"], call["customer_id"]) for call in calls)
    url, _, database = site.endpoints.graph_url.rpartition("/")
    credentials, _, address = url.removeprefix("bolt://").rpartition("@")
    user, _, password = credentials.partition(":")

    async def found() -> Counter[Any]:
        async with AsyncGraphDatabase.driver(f"bolt://{address}", auth=(user, password)) as driver:
            rows, _, _ = await driver.execute_query(
                _EDGES, org=str(site.org_ids["north"]), database_=database
            )
        return Counter({(r["user"], r["customer"]): r["calls"] for r in rows if r["user"] in users})

    return await caught_up("graph", found, want)


async def vectors(site: Site, calls: list[Record]) -> list[str]:
    """Each quarter's portrait has its vector."""
    want = Counter(
        f"quarter:{key}:{user}"
        for user, kind, key in recompute.by_portrait(calls)
        if kind == "quarter"
    )

    async def found() -> Counter[Any]:
        rows = await site.sql(
            "SELECT id FROM vector_item WHERE org_id = $1 AND collection = 'portrait' "
            "AND id = ANY($2)",
            site.org_ids["north"],
            list(want),
        )
        return Counter(row["id"] for row in rows)

    return await caught_up("vectors", found, want)


async def letters(site: Site) -> list[str]:
    """The outbox is empty, and nothing in it was given up."""

    async def waiting() -> Counter[Any]:
        rows = await site.sql("SELECT projection FROM outbox")
        return Counter(row["projection"] for row in rows)

    wrong = await caught_up("outbox", waiting, Counter())
    dead = await site.sql("SELECT projection, error FROM outbox_dead_letter")
    return wrong + [f"dead letter of {row['projection']}: {row['error']}" for row in dead]


async def caught_up(
    name: str, found: Callable[[], Awaitable[Counter[Any]]], want: Counter[Any]
) -> list[str]:
    """Empty as soon as what is found is what is wanted; else, after a while, what differs."""
    deadline = time.monotonic() + _CATCHES_UP_WITHIN_S
    while (got := await found()) != want:
        if time.monotonic() > deadline:
            missing, more = list((want - got).items()), list((got - want).items())
            return [f"{name}: missing {missing[:5]}, too many {more[:5]}"]
        await asyncio.sleep(0.3)
    return []
