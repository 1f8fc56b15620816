"""Customers who are one: their calls count for one, and go back when that is undone."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from ai_services.enrichment.customers import merging
from ai_services.enrichment.customers.merging import Who
from shared.errors import Conflict, InvalidInput, NotFound
from tests.ai_services.enrichment.customers.conftest import House
from tests.ai_services.enrichment.records import TURNS, record

UNKNOWN = "13900001111"


def call(callid: str, customer_id: str | None, **changes: object) -> dict[str, object]:
    return record(callid, customer_id=customer_id, **changes)


async def who(house: House, customer_id: str) -> Who:
    found, _ = await merging.history(house.db, house.org_id, customer_id, cursor=None, limit=10)
    return found


async def test_a_call_without_a_customer_is_that_of_whoever_has_its_number(house: House) -> None:
    await house.send(
        call("a", None, phone="+86 138 1234 8000"),
        call("b", None, phone="13812348000"),
        call("c", "crm-1", phone="13812348000"),
        call("d", None, phone="13900001111"),
        call("e", None, phone=None),
    )
    customers = await house.customers()
    assert customers["a"] == customers["b"] == house.cipher.identity("+8613812348000")
    assert (customers["c"], customers["e"]) == ("crm-1", None)
    assert len({customers["a"], customers["d"]}) == 2


async def test_merged_calls_count_for_the_other_customer_and_go_back(house: House) -> None:
    await house.send(
        call("a", "x", turns=TURNS),
        call("b", "y", turns=TURNS),
        call("c", "y", user_id="account-2"),
    )
    await house.follow()
    before = await house.edges()
    done = await house.merge("y", "x")
    await house.follow()
    assert (done.calls, done.merged_by) == (2, "user:ann")
    assert await house.customers() == {"a": "x", "b": "x", "c": "x"}
    assert await house.given() == {"a": "x", "b": "y", "c": "y"}
    assert await house.edges() == {("account-1", "x"): 2, ("account-2", "x"): 1}
    assert await house.data.graph.node(house.org_id, "Customer", "y") is None
    assert await house.found("cancel", customer_id="x") == {"a", "b"}
    assert await house.found("cancel", customer_id="y") == set()
    undone = await house.split(done)
    await house.follow()
    assert (undone.split_by, undone.split_at is not None) == ("user:bob", True)
    assert await house.customers() == {"a": "x", "b": "y", "c": "y"}
    assert await house.edges() == before
    assert await house.found("cancel", customer_id="y") == {"b"}
    assert await house.rows("SELECT * FROM customer_alias") == []
    assert (
        await house.rows("SELECT FROM call_record_enriched WHERE given_customer_id IS NOT NULL")
        == []
    )


async def test_calls_to_come_and_those_that_come_again_land_with_the_survivor(house: House) -> None:
    await house.send(call("a", "x"), call("b", "y"))
    done = await house.merge("y", "x")
    received = await house.send(call("b", "y"), call("c", "y"), call("d", "z"))
    assert [one.status for one in received.outcomes] == ["unchanged", "inserted", "inserted"]
    assert await house.customers() == {"a": "x", "b": "x", "c": "x", "d": "z"}
    await house.split(done)
    assert await house.customers() == {"a": "x", "b": "y", "c": "y", "d": "z"}


async def test_a_number_is_merged_into_the_customer_that_it_is_of(house: House) -> None:
    await house.send(call("a", None, phone=UNKNOWN), call("b", "crm-7"))
    number = house.cipher.identity(f"+86{UNKNOWN}")
    assert number is not None
    await house.merge(number, "crm-7")
    await house.send(call("c", None, phone=f"+86{UNKNOWN}"))
    assert set((await house.customers()).values()) == {"crm-7"}


async def test_chains_end_at_the_top_and_split_where_they_are_cut(house: House) -> None:
    await house.send(*(call(one, one) for one in ("w", "x", "y", "z")))
    low = await house.merge("w", "x")
    high = await house.merge("x", "y")
    await house.merge("z", "w")  # which stands under y by now
    assert set((await house.customers()).values()) == {"y"}
    assert (await who(house, "w")).survivor == "y"
    assert list((await who(house, "y")).aliases) == ["w", "x", "z"]
    await house.split(high)
    assert await house.customers() == {"w": "x", "x": "x", "y": "y", "z": "x"}
    await house.split(low)
    assert await house.customers() == {"w": "w", "x": "x", "y": "y", "z": "w"}
    await house.merge("w", "y")
    assert await house.customers() == {"w": "y", "x": "x", "y": "y", "z": "y"}


async def test_nobody_stands_for_itself_or_for_two(house: House) -> None:
    await house.send(*(call(one, one) for one in ("x", "y", "z")))
    with pytest.raises(InvalidInput, match="itself"):
        await house.merge("x", "x")
    first = await house.merge("x", "y")
    await house.merge("y", "z")
    with pytest.raises(InvalidInput, match="stand for itself"):
        await house.merge("z", "x")
    with pytest.raises(Conflict, match="Split that merge"):
        await house.merge("x", "z")
    assert await house.merge("x", "y") == first
    with pytest.raises(NotFound):
        await house.merge("nobody", "x")
    assert set((await house.customers()).values()) == {"z"}


async def test_a_split_is_undone_once_and_only_by_who_has_a_part_in_it(house: House) -> None:
    await house.send(call("a", "x"), call("b", "y"), call("c", "z"))
    done = await house.merge("y", "x")
    for customer, merge_id in (("z", done.merge_id), ("x", uuid4())):
        with pytest.raises(NotFound):
            await merging.split(house.db, house.org_id, customer, merge_id, actor="user:1")
    first = await house.split(done)
    assert await house.split(done) == first
    assert [one["action"] for one in await house.audited()] == ["customer.merged", "customer.split"]


async def test_the_history_tells_of_all_merges_newest_first(house: House) -> None:
    await house.send(call("a", "x"), call("b", "y"), call("c", "z"))
    await house.split(await house.merge("y", "x"))
    again = await house.merge("y", "x")
    last = await house.merge("z", "y")
    found, page = await merging.history(house.db, house.org_id, "y", cursor=None, limit=2)
    assert found == Who("y", "x", ["z"])
    assert [one.merge_id for one in page.items] == [last.merge_id, again.merge_id]
    _, rest = await merging.history(house.db, house.org_id, "y", cursor=page.next_cursor, limit=2)
    assert [one.split_by for one in rest.items] == ["user:bob"]
    with pytest.raises(NotFound):
        await merging.history(house.db, house.org_id, "nobody", cursor=None, limit=2)


async def test_an_organisation_has_customers_of_its_own(house: House, other: House) -> None:
    await house.send(call("a", "x"), call("b", "y"))
    await other.send(call("a", "x"), call("b", "y"))
    done = await house.merge("y", "x")
    assert await other.customers() == {"a": "x", "b": "y"}
    with pytest.raises(NotFound):
        await other.split(done)
    await other.send(call("c", "y"))
    assert (await other.customers())["c"] == "y"
    assert house.cipher.identity(f"+86{UNKNOWN}") != other.cipher.identity(f"+86{UNKNOWN}")


async def test_a_merge_during_an_import_leaves_no_call_behind(house: House) -> None:
    """Whoever comes first: a call of y is found under x."""
    await house.send(call("a", "x"), call("b", "y"))

    async def bring_in(number: int) -> None:
        await house.send(*(call(f"{number}-{n}", "y") for n in range(20)))

    importing = [asyncio.create_task(bring_in(number)) for number in range(4)]
    done = await house.merge("y", "x")
    await asyncio.gather(*importing)
    assert set((await house.customers()).values()) == {"x"}
    await house.split(done)
    customers = await house.customers()
    assert {callid for callid, one in customers.items() if one == "x"} == {"a"}
    assert len(customers) == 82


async def brought_in(house: House, count: int, customer_id: str) -> None:
    async with house.db.tenant(house.org_id) as tx:
        await tx.execute(
            """INSERT INTO call_record_enriched (org_id, callid, user_id, customer_id, call_date,
                   started_at, duration_ms, bill_ms, rounds, call_status)
               SELECT $1, $3 || '-' || n, 'account-1', $3, '2024-12-04', '2024-12-04', 0, 0, 0, 'busy'
               FROM generate_series(1, $2) AS n""",
            house.org_id, count, customer_id,
        )  # fmt: skip


async def test_many_calls_move_in_several_transactions_each_with_its_events(house: House) -> None:
    count = 2 * merging.STEP + 5
    await brought_in(house, count, "y")
    await house.send(call("a", "x"), call("b", "w"))
    await house.merge("w", "y")
    done = await house.merge("y", "x")
    assert done.calls == count + 1
    assert set((await house.customers()).values()) == {"x"}
    told = "SELECT payload FROM outbox WHERE projection = 'graph' AND topic = 'calls' ORDER BY outbox.id"
    named = [len(row["payload"]["callids"]) for row in await house.rows(told)]
    assert max(named) <= merging.STEP
    await house.split(done)
    customers = list((await house.customers()).values())
    assert (customers.count("x"), customers.count("y")) == (1, count + 1)
    assert (await who(house, "w")).survivor == "y"


async def test_a_merge_that_was_interrupted_goes_on_and_is_erased_whole(house: House) -> None:
    """Calls that have not been moved yet are under a customer that stands under theirs."""
    await house.send(call("a", "x"), call("b", "y"), call("c", "y"))
    done = await house.merge("y", "x")

    async def interrupted() -> None:
        async with house.db.tenant(house.org_id) as tx:
            await tx.execute(
                """UPDATE call_record_enriched SET customer_id = 'y', given_customer_id = NULL
                   WHERE callid = 'b'"""
            )

    await interrupted()
    assert await house.merge("y", "x") == done
    assert set((await house.customers()).values()) == {"x"}
    await interrupted()
    await house.split(done)
    assert await house.customers() == {"a": "x", "b": "y", "c": "y"}
    await house.merge("y", "x")
    await interrupted()
    assert (await house.erase("x")).calls == 3
    assert await house.customers() == {}


async def test_a_request_moves_no_more_than_it_has_time_for(house: House) -> None:
    await house.send(call("a", "x"), call("b", "y"), call("c", "y"))
    digests = house.cipher.digests

    async def merge(customer_id: str, into: str) -> None:
        await merging.merge(
            house.db, digests, house.org_id, customer_id, into, actor="user:ann", most=1
        )

    with pytest.raises(
        InvalidInput, match=r"2 calls.*merge the other one into it.*looma customers"
    ):
        await merge("y", "x")
    assert await house.customers() == {"a": "x", "b": "y", "c": "y"}
    await merge("x", "y")
    done = await house.merge("y", "z")
    with pytest.raises(InvalidInput, match=r"3 calls.*looma customers"):
        await merging.split(house.db, house.org_id, "y", done.merge_id, actor="user:ann", most=1)
    await house.split(done)
    assert set((await house.customers()).values()) == {"y"}
