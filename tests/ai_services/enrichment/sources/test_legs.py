"""Reading Asterisk's table `cdr`, a row for each leg: every call once, whenever its legs come."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from ai_services.enrichment.sources.compared import Compared
from ai_services.enrichment.sources.sources_file import parse_sources, read_sources
from ai_services.enrichment.sources.verify import Verification
from shared.errors import ConfigError
from tests.ai_services.enrichment.sources.dialler import ZONE, Dialler
from tests.ai_services.enrichment.sources.sync_shop import SECRETS, SyncShop
from tests.ai_services.enrichment.test_importing import KEY

_CDR = """CREATE TABLE {name} (
    calldate datetime NOT NULL, clid varchar(80), src varchar(80) NOT NULL DEFAULT '',
    dst varchar(80) NOT NULL DEFAULT '', channel varchar(80) NOT NULL DEFAULT '',
    dstchannel varchar(80) NOT NULL DEFAULT '', lastapp varchar(80) NOT NULL DEFAULT '',
    duration int NOT NULL, billsec int NOT NULL, disposition varchar(45) NOT NULL,
    accountcode varchar(20) NOT NULL DEFAULT '', uniqueid varchar(32) NOT NULL,
    linkedid varchar(32) NOT NULL, sequence int NOT NULL, KEY (calldate), KEY (uniqueid))"""
DAY = datetime(2024, 12, 2, 10)
Leg = tuple[Any, ...]


def leg(
    call: str, number: int, at: datetime, seconds: int = 20, *, talked: int = 0, ext: str = "601"
) -> Leg:
    """A phone that rang for a call, and was answered if it was `talked` at."""
    answered = "ANSWERED" if talked else "NO ANSWER"
    own = f"{call}.{number}" if number > 2 else call  # two legs of a call have its own id
    return (
        at.strftime("%Y-%m-%d %H:%M:%S"), "13812348000", "600", "SIP/trunk-1", f"SIP/{ext}-{number}",
        "Dial", seconds, talked, answered, own, call, number,
    )  # fmt: skip


async def add(source: Dialler, *legs: Leg, table: str = "cdr") -> None:
    names = "calldate, src, dst, channel, dstchannel, lastapp, duration, billsec, disposition, uniqueid, linkedid, sequence"
    await source._load(table, names, legs)


async def answered_call(source: Dialler, call: str, at: datetime = DAY) -> None:
    """Two phones ring, the third answers, then somebody else is asked: four rows."""
    await add(
        source,
        leg(call, 1, at),
        leg(call, 2, at, ext="602"),
        leg(call, 3, at + timedelta(seconds=5), 60, talked=50, ext="603"),
        leg(call, 4, at + timedelta(seconds=65), 30, talked=25, ext="604"),
    )


def connect(shop: SyncShop, source: Dialler, more: str = "") -> None:
    shop.sources.write_text(
        f"""[dialler]
organisation = "{shop.slug}"
kind = "asterisk"
url = "{source.url}"
password = "DIALLER"
tls = "off"
timezone = "{ZONE}"
page_rows = 3
{more}
""",
        encoding="utf-8",
    )


@pytest.fixture
async def pbx(source: Dialler, shop: SyncShop) -> Dialler:
    await source.run(_CDR.format(name="cdr"))
    connect(shop, source)
    return source


async def calls(shop: SyncShop) -> list[tuple[Any, ...]]:
    return await shop.rows(
        """SELECT callid, user_id, duration_ms, bill_ms, call_status,
                  (SELECT count(*) FROM call_leg k WHERE k.callid = c.callid)
           FROM call_record_enriched c ORDER BY callid"""
    )


async def compared(
    shop: SyncShop, first: int = 2, last: int = 3, *, repair: bool = False
) -> list[Compared]:
    settings = read_sources(shop.sources, SECRETS)["dialler"]
    verification = await Verification.of(shop.db, KEY, shop.org_id, settings, repair=repair)
    days = verification.days(date(2024, 12, first), date(2024, 12, last))
    return [one async for one in days]


WHOLE = ("1733104800.1", "603", 95_000, 75_000, "connected", 4)


async def test_legs_of_several_pages_are_one_call_and_come_once(
    shop: SyncShop, pbx: Dialler
) -> None:
    await answered_call(pbx, WHOLE[0])
    await add(pbx, leg("missed", 1, DAY))
    result = await shop.sync()
    assert (result["rows"], result["inserted"], result["rejected"]) == (5, 2, 0)
    assert await calls(shop) == [WHOLE, ("missed", "601", 20_000, 0, "no_answer", 1)]
    again = await shop.sync(**{"from": "2024-12-02", "to": "2024-12-02"})
    assert (again["inserted"], again["updated"]) == (0, 0)
    assert len(await calls(shop)) == 2
    (found,) = await compared(shop)
    assert (found.theirs, found.ours, found.differs) == (2, 2, False)
    assert found.their_sum == found.our_sum


async def test_a_leg_that_comes_in_a_later_run_joins_its_call(shop: SyncShop, pbx: Dialler) -> None:
    await add(pbx, leg(WHOLE[0], 1, DAY), leg(WHOLE[0], 2, DAY, ext="602"))
    await shop.sync()
    assert await calls(shop) == [(WHOLE[0], "601", 20_000, 0, "no_answer", 2)]
    late = DAY + timedelta(seconds=5)
    await add(pbx, leg(WHOLE[0], 3, late, 60, talked=50, ext="603"))
    await add(pbx, leg(WHOLE[0], 4, late + timedelta(seconds=60), 30, talked=25, ext="604"))
    again = await shop.sync(**{"from": "2024-12-02", "to": "2024-12-02"})
    assert (again["rows"], again["inserted"]) == (4, 0)
    assert await calls(shop) == [WHOLE]


@pytest.mark.slow
async def test_a_row_that_was_corrected_replaces_its_leg(shop: SyncShop, pbx: Dialler) -> None:
    await answered_call(pbx, WHOLE[0])
    await shop.sync()
    await pbx.run("UPDATE cdr SET billsec = 0, disposition = 'NO ANSWER' WHERE sequence = 4")
    await shop.sync(**{"from": "2024-12-02", "to": "2024-12-02"})
    assert await calls(shop) == [(WHOLE[0], "603", 95_000, 50_000, "connected", 4)]


@pytest.mark.slow
async def test_calls_are_compared_by_their_legs_and_repaired(shop: SyncShop, pbx: Dialler) -> None:
    for call in ("same", "late-leg", "gone-leg", "gone", "missing"):
        await answered_call(pbx, call)
    await shop.sync()
    before = await calls(shop)
    await add(pbx, leg("late-leg", 5, DAY + timedelta(seconds=100), 9, talked=9))
    await pbx.run("DELETE FROM cdr WHERE linkedid = 'gone-leg' AND sequence = 4")
    await pbx.run("DELETE FROM cdr WHERE linkedid = 'gone'")
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute("DELETE FROM call_record_enriched WHERE callid = 'missing'")
    (found,) = await compared(shop)
    assert (found.shard, found.theirs, found.ours) == ("cdr", 4, 4)
    assert (found.missing.callids, found.extra.callids) == (["missing"], ["gone"])
    assert sorted(found.changed.callids) == ["gone-leg", "late-leg"]
    (repaired,) = await compared(shop, repair=True)
    assert repaired.repaired == 4
    assert not any(one.differs for one in await compared(shop))
    now = {row[0]: row for row in await calls(shop)}
    assert {row[0] for row in before} - set(now) == {"gone"}
    assert now["late-leg"][3:] == (84_000, "connected", 5)
    assert now["gone-leg"][3:] == (50_000, "connected", 3)


@pytest.mark.slow
async def test_a_call_over_midnight_counts_once(shop: SyncShop, pbx: Dialler) -> None:
    midnight = datetime(2024, 12, 3)
    await add(pbx, leg("long", 1, midnight - timedelta(seconds=30), 40, talked=30))
    await add(pbx, leg("long", 2, midnight + timedelta(seconds=10), 60, talked=50))
    await shop.sync()
    assert [row[3] for row in await calls(shop)] == [80_000]
    found = await compared(shop)
    assert [(one.day.day, one.theirs, one.ours) for one in found] == [(2, 1, 1)]
    assert not any(one.differs for one in found)
    await pbx.run("UPDATE cdr SET billsec = 20 WHERE sequence = 2")
    (second,) = await compared(shop, 3, 3)
    assert second.changed.callids == ["long"]
    await pbx.run("DELETE FROM cdr WHERE sequence = 1")
    await compared(shop, repair=True)
    assert [row[3] for row in await calls(shop)] == [20_000]
    assert not any(one.differs for one in await compared(shop))


@pytest.mark.slow
async def test_legs_of_two_monthly_tables_are_one_call(shop: SyncShop, source: Dialler) -> None:
    for month in ("2024_11", "2024_12"):
        await source.run(_CDR.format(name=f"cdr_{month}"))
    connect(shop, source, 'table = "cdr_{YYYY_MM}"')
    await add(source, leg("one", 1, DAY), table="cdr_2024_11")
    await add(source, leg("one", 2, DAY, 60, talked=50, ext="602"), table="cdr_2024_12")
    await shop.sync()
    assert await calls(shop) == [("one", "602", 60_000, 50_000, "connected", 2)]
    (found,) = await compared(shop)
    assert (found.theirs, found.ours, found.differs) == (1, 1, False)


async def test_a_key_that_does_not_tell_rows_apart_is_refused(shop: SyncShop, pbx: Dialler) -> None:
    """Of two rows at the end of a page, the second would never be read."""
    connect(shop, pbx, 'key = "uniqueid"')
    await answered_call(pbx, WHOLE[0])
    result = await shop.sync()
    assert "does not tell all rows apart" in result["failed"]["cdr"]
    assert result["rows"] == 0


def test_what_can_not_be_said_of_legs_is_refused() -> None:
    text = '[pbx]\norganisation = "a"\nkind = "asterisk"\nurl = "mysql://u@h/d"\n'
    assert parse_sources(text, {})["pbx"].key == ("uniqueid", "sequence")
    with pytest.raises(ConfigError, match="deleted can't be said of rows that are legs"):
        parse_sources(text + 'deleted = "gone"\n', {})
