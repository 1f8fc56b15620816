"""Erased is gone: from every table, search and graph, and it doesn't come back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import orjson
import pytest

from ai_services.enrichment.customers import erasing, forgetting, trace_store
from ai_services.enrichment.customers.receipt import names_in, receipt, sought
from ai_services.enrichment.imports.store import imports
from shared.audit import trail
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, NotFound
from tests.ai_services.enrichment.customers.conftest import ADMIN, House
from tests.ai_services.enrichment.customers.test_merging import call
from tests.ai_services.enrichment.records import TURNS

SAID = [{"role": "customer", "at_ms": 0, "text": "my name is Xanthippe"}]


class Killed(Exception):
    """A process ends."""


class Interrupted:
    """A database that is used for some transactions; then the process is killed."""

    def __init__(self, db: Relational, transactions: int) -> None:
        self._db = db
        self._left = transactions

    def tenant(self, org_id: UUID) -> AbstractAsyncContextManager[Transaction]:
        if not self._left:
            raise Killed
        self._left -= 1
        return self._db.tenant(org_id)


async def test_a_customer_is_gone_from_everywhere(house: House) -> None:
    await house.send(
        call("call-of-hers", "hers", turns=SAID),
        call("call-of-alias", "alias", turns=SAID, user_id="account-2"),
        call("call-of-another", "another", turns=TURNS),
        call("call-refused", "hers", duration_ms="long"),
        call("call-refused-too", "another", duration_ms="long"),
    )
    await house.merge("alias", "hers")
    await house.follow()
    assert await house.found("Xanthippe") == {"call-of-hers", "call-of-alias"}
    done = await house.erase("hers")
    await house.follow()
    assert (done.calls, done.transcripts, done.rejects, done.customers) == (2, 2, 1, 2)
    assert await house.customers() == {"call-of-another": "another"}
    assert await house.found("Xanthippe") == set()
    assert await house.found("cancel") == {"call-of-another"}
    assert await house.edges() == {("account-1", "another"): 1}
    assert await house.data.graph.node(house.org_id, "Customer", "hers") is None
    assert await house.data.graph.node(house.org_id, "Account", "account-2") is None
    left = await house.everything()
    for told in ("hers", "alias", "Xanthippe", "call-refused,", "call-of-hers"):
        assert told not in left, told
    assert "call-refused-too" in left
    assert "call-of-another" in left


async def test_what_imports_and_models_told_of_a_customer_is_gone_too(house: House) -> None:
    refused = call("call-refused", "another", duration_ms="long")
    received = await house.send(call("call-of-hers", "hers", turns=SAID), refused)
    async with house.db.tenant(house.org_id) as tx:
        for value in ("call-of-hers", "call-of-hers-not"):
            await tx.execute(
                """INSERT INTO import_note (org_id, import_id, line, field, value, problem, fix)
                   VALUES ($1, $2, 1, 'callid', $3, 'is there twice', 'look at it')""",
                house.org_id, received.import_id, value,
            )  # fmt: skip
        await tx.execute(
            "UPDATE import_run SET notes = $2 WHERE import_id = $1",
            received.import_id, ["moved: call-of-hers (t1)", "moved: call-of-hers-not (t1)"],
        )  # fmt: skip
        await tx.execute(
            "INSERT INTO analysis_cache (org_id, digest, verdict) VALUES ($1, 'x', $2)",
            house.org_id, {"summary": "Xanthippe called"},
        )  # fmt: skip
    await house.erase("hers")
    (note,) = await house.rows("SELECT value FROM import_note")
    assert note["value"] == "call-of-hers-not"
    (run,) = await house.rows("SELECT notes FROM import_run")
    assert run["notes"] == ["moved: call-of-hers-not (t1)"]
    assert await house.rows("SELECT FROM analysis_cache") == []
    assert "call-of-hers-not" in await house.everything()


async def test_the_receipt_is_in_the_audit_log_and_names_nobody(house: House) -> None:
    await house.send(call("a-call", "hers"))
    done = await house.erase("hers")
    assert done.finished_at is not None
    facts = receipt(house.org_id, done, done.finished_at)
    text = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
    assert hashlib.sha256(text).hexdigest() == done.hash
    assert b"hers" not in text
    assert facts["digest"] == house.cipher.digests.of("customer", "hers").hex()
    (entry,) = await house.audited()
    assert (entry["action"], entry["actor"]) == ("customer.erased", ADMIN)
    assert entry["target"] == f"erasure:{done.erasure_id}"
    assert (entry["details"]["receipt"], entry["details"]["calls"]) == (done.hash, 1)
    assert (await trail.verify(house.db, house.org_id)).broken is None
    assert await erasing.get(house.db, house.org_id, str(done.erasure_id)) == done


async def test_erased_again_it_is_the_same_erasure_and_what_never_was_is_not_found(
    house: House,
) -> None:
    await house.send(call("a-call", "hers"), call("another-call", "alias"))
    await house.merge("alias", "hers")
    done = await house.erase("alias")
    assert await house.customers() == {}
    assert await house.erase("alias") == await house.erase("hers") == done
    for erase in (house.erase, house.erase_call):
        with pytest.raises(NotFound):
            await erase("nobody")
    for unknown in (str(uuid4()), "x"):
        with pytest.raises(NotFound):
            await erasing.get(house.db, house.org_id, unknown)


async def test_a_call_is_erased_alone(house: House) -> None:
    await house.send(call("call-1", "x", turns=SAID), call("call-2", "x", turns=SAID))
    await house.send(
        call("call-1", "x", duration_ms="long"), call("call-11", "x", duration_ms="long")
    )
    await house.follow()
    done = await house.erase_call("call-1")
    await house.follow()
    assert (done.kind, done.calls, done.transcripts, done.rejects) == ("call", 1, 1, 1)
    assert await house.customers() == {"call-2": "x"}
    assert await house.found("Xanthippe") == {"call-2"}
    assert await house.edges() == {("account-1", "x"): 1}
    assert await house.erase_call("call-1") == done


async def test_the_erasure_of_a_call_that_was_interrupted_goes_on(house: House) -> None:
    await house.send(call("call-1", "x", turns=SAID), call("call-1", "x", duration_ms="long"))
    with pytest.raises(Killed):
        await erasing.erase_call(Interrupted(house.db, 1), house.org_id, "call-1", house.order())  # type: ignore[arg-type]
    assert await house.customers() == {}
    done = await house.erase_call("call-1")
    assert (done.calls, done.rejects, done.finished_at is None) == (1, 1, False)
    assert await house.erase_call("call-1") == done
    assert len(await house.audited()) == 1


async def test_what_was_erased_stays_out_until_it_is_readmitted(house: House) -> None:
    await house.send(call("one", "hers"), call("two", "x"), call("three", "alias"))
    await house.merge("alias", "hers")
    customer, single = await house.erase("hers"), await house.erase_call("two")
    sent = [call("one", "hers"), call("two", "x"), call("four", "alias"), call("five", "x")]
    received = await house.send(*sent)
    assert [one.status for one in received.outcomes] == ["erased", "erased", "erased", "inserted"]
    assert received.notes == ["3 calls stayed out: they, or their customers, were erased."]
    assert await house.customers() == {"five": "x"}
    assert await house.rows("SELECT FROM import_reject") == []
    with pytest.raises(Conflict, match="erased"):
        await house.merge("x", "hers")
    erasure_id = str(customer.erasure_id)
    assert await erasing.readmit(house.db, house.org_id, erasure_id, actor=ADMIN) == 2
    assert await erasing.readmit(house.db, house.org_id, erasure_id, actor=ADMIN) == 0
    received = await house.send(*sent)
    assert [one.status for one in received.outcomes] == [
        "inserted",
        "erased",
        "inserted",
        "unchanged",
    ]
    again = await house.erase("hers")
    assert again.erasure_id not in (customer.erasure_id, single.erasure_id)
    assert (await house.audited())[-2]["action"] == "erasure.readmitted"


async def test_of_a_refused_row_that_names_what_was_erased_nothing_is_kept(house: House) -> None:
    await house.send(call("one", "tel:hers"), call("call-two", "x"))
    customer = await house.erase("tel:hers")
    await house.erase_call("call-two")
    sent = [
        call("call-3", "tel:hers", duration_ms="long"),
        call("call-two", "x", duration_ms="long"),
        call("call-two-not", "tel:hers-not", duration_ms="long"),
    ]
    received = await house.send(*sent)
    assert [one.status for one in received.outcomes] == ["rejected"] * 3
    (kept,) = await house.rows("SELECT raw FROM import_reject")
    assert "call-two-not" in kept["raw"]
    async with house.db.tenant(house.org_id) as tx:
        [run] = [one for one in await imports(tx, house.org_id, 10, None) if one["rejected"]]
    assert (run["rejected"], run["notes"]) == (
        3, ["2 rejected rows are not kept: they name what was erased."],
    )  # fmt: skip
    await erasing.readmit(house.db, house.org_id, str(customer.erasure_id), actor=ADMIN)
    await house.send(*sent)
    assert len(await house.rows("SELECT FROM import_reject")) == 3


async def test_who_is_known_by_the_number_alone_stays_out_too(house: House) -> None:
    await house.send(call("one", None, phone="13900001111"))
    (customer,) = (await house.customers()).values()
    assert customer is not None
    await house.erase(customer)
    received = await house.send(call("two", None, phone="+86 139 0000 1111"))
    assert [one.status for one in received.outcomes] == ["erased"]


async def test_where_it_is_so_set_what_was_erased_comes_back(house: House) -> None:
    await house.send(call("one", "hers"))
    await house.erase("hers", keep_out=False)
    assert await house.erase("hers", keep_out=False)
    await house.send(call("one", "hers"))
    assert await house.customers() == {"one": "hers"}


async def test_an_organisation_erases_nothing_of_anothers(house: House, other: House) -> None:
    for one in (house, other):
        await one.send(call("a-call", "hers", turns=SAID))
        await one.follow()
    done = await house.erase("hers")
    await house.follow()
    assert await other.customers() == {"a-call": "hers"}
    assert await other.found("Xanthippe") == {"a-call"}
    assert await other.edges() == {("account-1", "hers"): 1}
    with pytest.raises(NotFound):
        await erasing.get(other.db, other.org_id, str(done.erasure_id))
    assert [one.status for one in (await other.send(call("b", "hers"))).outcomes] == ["inserted"]


async def test_search_and_graph_rebuilt_hold_nothing_of_what_was_erased(house: House) -> None:
    from ai_services.enrichment.projections import PROJECTIONS

    await house.send(call("a-call", "hers", turns=SAID), call("b-call", "x", turns=TURNS))
    await house.follow()
    await house.erase("hers")
    await house.follow()
    before = await house.found("is"), await house.edges()
    for make in PROJECTIONS.values():
        await make(house.data).rebuild(house.org_id, lambda _done, _total: None)
    await house.data.search.refresh()
    assert (await house.found("is"), await house.edges()) == before


HELD = {
    '{"callid": "c.1+2", "x": 1}': True,
    '"xc.1+2"': False,
    '"c.1+23"': False,
    "c.1+2": True,
    "a,c.1+2,b": True,
    "ca1+2": False,
    "abc": False,  # three characters stand in rows about others
    "the abc": False,
    "tel:abcdef": True,
    "tel:abcdef-1 tel:abc": False,
    "cell:abcdef": False,
    "Ann Smith": True,
    "Ann, Smith": False,
    "Joann Smithson": False,
    "，客户一号，": True,
    "客户一号二": False,
    "?!?!": True,
    "nothing of the kind": False,
}
IDS = ["c.1+2", "abc", "tel:abcdef", "Ann Smith", "客户一号", "?!?!"]


@pytest.mark.parametrize(("page", "others"), [(1, 2), (4, 20), (1000, 20)])
async def test_what_is_kept_of_rows_is_found_by_whole_ids_page_by_page(
    house: House, page: int, others: int
) -> None:
    """Few ids are sought in another way than many."""
    received = await house.send(call("other", "x", duration_ms="long"))
    columns = "org_id, import_id, line, field, value, problem, fix"
    async with house.db.tenant(house.org_id) as tx:
        for number, text in enumerate(HELD):
            place = house.org_id, received.import_id, number // 3  # several of a line
            await tx.execute(
                f"INSERT INTO import_reject ({columns}, raw) VALUES ($1, $2, $3, '', '', '', '', $4)",
                *place, text,
            )  # fmt: skip
            await tx.execute(
                f"INSERT INTO import_note ({columns}) VALUES ($1, $2, $3, '', $4, '', '')",
                *place, text,
            )  # fmt: skip
        await tx.execute("UPDATE import_run SET notes = $1", list(HELD))
    long, pattern = sought([*IDS, *(f"never-seen-{number}" for number in range(others))])
    async with house.db.tenant(house.org_id) as tx:
        wanted = await trace_store.seek(tx, long, pattern)
        for kept in (trace_store.REJECTS, trace_store.NOTES, trace_store.NOTES_OF_RUNS):
            place = trace_store.START
            while place is not None:
                _, place = await trace_store.forget(tx, house.org_id, kept, wanted, place, page)
    left = [text for text, is_found in HELD.items() if not is_found]
    rejects = await house.rows("SELECT raw FROM import_reject WHERE raw NOT LIKE '%other%'")
    assert sorted(row["raw"] for row in rejects) == sorted(left)
    notes = await house.rows("SELECT value FROM import_note")
    assert sorted(row["value"] for row in notes) == sorted(left)
    (run,) = await house.rows("SELECT notes FROM import_run")
    assert run["notes"] == left


def test_every_id_that_would_be_found_is_among_the_names_of_a_text() -> None:
    for text, is_found in HELD.items():
        found = [one for one in IDS if len(one) > 3 and one in names_in(f'{{"callid": "{text}"}}')]
        assert bool(found) >= (is_found and text != "?!?!"), text


async def test_where_imports_keep_much_a_job_erases_and_imports_wait_for_no_search(
    house: House,
) -> None:
    await house.send(call("call-1", "hers"), call("call-2", "hers", duration_ms="long"))
    begun = await erasing.erase_customer(house.db, house.org_id, "hers", house.order(), traces=0)
    assert (begun.finished_at, begun.job_id is None) == (None, False)
    excluded: list[bool] = []

    @asynccontextmanager
    async def begin() -> AsyncIterator[Transaction]:
        async with house.db.tenant(house.org_id) as tx:
            yield tx
            async with house.db.tenant(house.org_id) as other:
                lock = "hashtextextended('customers/' || $1::uuid::text, 0)"
                free = await other.fetchval(
                    f"SELECT pg_try_advisory_xact_lock_shared({lock})", house.org_id
                )
            excluded.append(not free)

    done = begun
    while done.finished_at is None:
        done = await forgetting.step(begin, house.org_id, begun.erasure_id)
    assert (done.calls, done.rejects, done.customers) == (1, 1, 1)
    assert excluded.count(True) == 2  # the call, then the receipt
    assert len(excluded) > 10


async def test_a_customer_under_erasure_is_neither_merged_nor_split(house: House) -> None:
    await house.send(*(call(f"call-{n}", "hers") for n in range(3)), call("b", "x"), call("c", "y"))
    merged = await house.merge("y", "hers")
    order = replace(house.order(), keep_out=False)
    begun = await erasing.erase_customer(house.db, house.org_id, "hers", order, at_once=1)
    assert (begun.finished_at, begun.subject) == (None, "hers")
    with pytest.raises(Conflict):
        await house.merge("x", "hers")
    with pytest.raises(Conflict):
        await house.split(merged)
    assert isinstance(begun.erasure_id, UUID)
