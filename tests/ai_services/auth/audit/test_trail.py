"""The audit log: linked, complete, closed to the platform's own roles, and honest about damage."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest

from shared.audit import trail
from shared.audit.chain import GENESIS, Anchor, Chain, Entry, Link
from shared.errors import StoreError

NOW = datetime(2024, 12, 4, 9, 30, tzinfo=UTC)


@pytest.fixture
async def written(served, team):
    """A team whose log has 20 entries."""
    before = (await trail.verify(served.auth.relational, team.org_id)).head.seq
    for number in range(20 - before):
        await write(
            served, team, details={"number": number, "text": '客 "quoted" \\ é', "on": True}
        )
    return team


async def write(served, team, **more) -> None:
    async with served.auth.relational.tenant(team.org_id) as tx:
        await trail.record(
            tx, team.org_id, at=served.clock(), actor="test", action="test.done", **more
        )


async def verify(served, team, **more):
    return await trail.verify(served.auth.relational, team.org_id, batch=7, **more)


async def test_an_intact_log_verifies_and_is_listed_newest_first(served, written) -> None:
    found = await verify(served, written)
    assert (found.head.seq, found.broken) == (20, None)
    seen, cursor = [], None
    while True:
        query = "?limit=9" + (f"&cursor={cursor}" if cursor else "")
        page = (await written.call("GET", "/api/v1/audit" + query)).json()["data"]
        seen += [item["seq"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(number) for number in range(20, 0, -1)]


async def test_entries_written_at_once_have_no_gaps(served, team) -> None:
    await asyncio.gather(*(write(served, team) for _ in range(30)))
    found = await verify(served, team)
    assert found.broken is None
    assert found.head.seq >= 30


async def test_an_entry_goes_with_its_change(served, team) -> None:
    head = (await verify(served, team)).head

    async def change_and_fail() -> None:
        async with served.auth.relational.tenant(team.org_id) as tx:
            await trail.record(tx, team.org_id, at=NOW, actor="test", action="test.undone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert (await verify(served, team)).head == head


TAMPERING = {
    "changed details": (["UPDATE audit_log SET details = '{}' WHERE org_id = $1 AND seq = 12"], 12),
    "changed actor": (["UPDATE audit_log SET actor = 'x' WHERE org_id = $1 AND seq = 12"], 12),
    "changed time": (
        ["UPDATE audit_log SET at = at + interval '1 microsecond' WHERE org_id = $1 AND seq = 12"],
        12,
    ),
    "changed hash": (
        ["UPDATE audit_log SET hash = sha256('x') WHERE org_id = $1 AND seq = 12"],
        12,
    ),
    "removed": (["DELETE FROM audit_log WHERE org_id = $1 AND seq = 12"], 12),
    "removed the first": (["DELETE FROM audit_log WHERE org_id = $1 AND seq = 1"], 1),
    "removed everything": (["DELETE FROM audit_log WHERE org_id = $1"], 1),
    "cut off": (["DELETE FROM audit_log WHERE org_id = $1 AND seq > 17"], 18),
    "removed and closed up": (
        [
            "DELETE FROM audit_log WHERE org_id = $1 AND seq = 19",
            "UPDATE audit_log SET seq = 19 WHERE org_id = $1 AND seq = 20",
        ],
        19,
    ),
    "reordered": (
        [
            "UPDATE audit_log SET seq = 1000 WHERE org_id = $1 AND seq = 9",
            "UPDATE audit_log SET seq = 9 WHERE org_id = $1 AND seq = 10",
            "UPDATE audit_log SET seq = 10 WHERE org_id = $1 AND seq = 1000",
        ],
        9,
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_tampering_is_found_and_the_first_broken_entry_named(
    served, written, superuser, what
) -> None:
    statements, seq = TAMPERING[what]
    for statement in statements:
        await superuser.execute(statement, written.org_id)
    found = await verify(served, written)
    assert found.broken is not None
    assert (found.broken.seq, found.head.seq) == (seq, seq - 1)


async def rehash(superuser, org_id, start: int) -> Anchor:
    """Forge the chain from `start` on, as somebody with this program could."""
    previous = await superuser.fetchval(
        "SELECT hash FROM audit_log WHERE org_id = $1 AND seq = $2", org_id, start - 1
    )
    rows = await superuser.fetch(
        "SELECT seq, at, actor, action, target, details FROM audit_log "
        "WHERE org_id = $1 AND seq >= $2 ORDER BY seq", org_id, start,
    )  # fmt: skip
    for row in rows:
        values = {**dict(row), "details": orjson.loads(row["details"])}
        forged = Entry(org_id, **values).hash_after(previous)
        await superuser.execute(
            "UPDATE audit_log SET prev_hash = $3, hash = $4 WHERE org_id = $1 AND seq = $2",
            org_id, row["seq"], previous, forged,
        )  # fmt: skip
        previous = forged
    return Anchor(rows[-1]["seq"], previous)


async def test_a_forged_tail_is_found_by_the_head_and_a_forged_head_by_an_anchor(
    served, written, superuser
) -> None:
    noted = (await verify(served, written)).head
    await superuser.execute(
        "UPDATE audit_log SET actor = 'x' WHERE org_id = $1 AND seq = 12", written.org_id
    )
    forged = await rehash(superuser, written.org_id, 12)
    assert (await verify(served, written)).broken.seq == 20
    await superuser.execute(
        "UPDATE audit_head SET hash = $2 WHERE org_id = $1", written.org_id, forged.hash
    )
    # Whoever may rewrite everything can forge everything but a head that was noted elsewhere.
    assert (await verify(served, written)).broken is None
    await write(served, written)
    assert (await verify(served, written, anchor=noted)).broken.seq == 20


async def test_neither_role_of_the_platform_can_change_the_log(served, written) -> None:
    relational = served.auth.relational
    statements = [
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_head SET seq = 0",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head SELECT gen_random_uuid(), 1, sha256('x')",
        "ALTER TABLE audit_log DISABLE TRIGGER audit_link",
    ]
    for statement in statements:
        for transaction in (relational.tenant(written.org_id), relational.system()):
            with pytest.raises(StoreError):
                async with transaction as tx:
                    await tx.execute(statement)
    assert (await verify(served, written)).broken is None


@pytest.mark.parametrize(("seq", "link"), [(25, "head"), (20, "head"), (21, "start")])
async def test_the_database_refuses_an_entry_that_does_not_continue_the_chain(
    served, written, seq, link
) -> None:
    head = (await verify(served, written)).head
    previous = head.hash if link == "head" else GENESIS
    with pytest.raises(StoreError):
        async with served.auth.relational.system() as tx:
            await tx.execute(
                "INSERT INTO audit_log (org_id, seq, at, actor, action, prev_hash, hash) "
                "VALUES ($1, $2, now(), 'x', 'x', $3, sha256('x'))", written.org_id, seq, previous,
            )  # fmt: skip


async def test_one_organisation_never_sees_the_others_log(served, written, other) -> None:
    theirs = (await other.call("GET", "/api/v1/audit?limit=200")).json()["data"]["items"]
    assert not [entry for entry in theirs if entry["action"] == "test.done"]
    async with served.auth.relational.tenant(other.org_id) as tx:
        assert (
            await tx.fetchval("SELECT count(*) FROM audit_log WHERE org_id = $1", written.org_id)
            == 0
        )


def test_the_canonical_form_is_fixed() -> None:
    """What stood in a log yesterday must verify tomorrow."""
    entry = Entry(
        UUID(int=7), 3, NOW, "user:1", "user.created", "user:2",
        {"role": "agent", "email": "李@x", "n": 1, "ok": True, "none": None},
    )  # fmt: skip
    assert entry.canonical().decode() == (
        '{"action":"user.created","actor":"user:1","at":"2024-12-04T09:30:00.000000+00:00",'
        '"details":{"email":"李@x","n":1,"none":null,"ok":true,"role":"agent"},'
        '"org_id":"00000000-0000-0000-0000-000000000007","seq":3,"target":"user:2"}'
    )
    # sha256sum of 32 zero bytes and that text.
    assert entry.hash_after(GENESIS).hex() == (
        "43020dcaba3767747c851217a4c3bc75bc329276ac1fce655a29c660ac08154f"
    )


def test_a_chain_that_grew_behind_the_database_is_broken_at_its_growth() -> None:
    entry = Entry(uuid4(), 1, NOW, "a", "b", "", {})
    chain = Chain()
    assert chain.follow(Link(entry, GENESIS, entry.hash_after(GENESIS))) is None
    assert chain.finish(Anchor()).seq == 1
    assert chain.finish(chain.end) is None
