"""Legs into calls, in the transaction that brings them in: with those that came before, whenever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import polars as pl

from ai_services.enrichment import store as calls
from ai_services.enrichment.customers import alias_store
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.legs import store
from ai_services.enrichment.legs.join import chosen, join, spread_too_far
from ai_services.enrichment.legs.leg import Leg
from ai_services.enrichment.staging import hex_bytes, to_csv
from shared.data_access.ports import Row, Transaction

_PAGE_BYTES: Final = 2 << 20  # of legs that are in memory at once, as they are kept


@dataclass(frozen=True, slots=True)
class _Made:
    """Calls as COPY takes them; the legs that there are too many of, as (callid, leg_id); calls whose
    legs lie too far apart.
    """

    rows_csv: bytes
    transcripts: bool
    beyond: Sequence[tuple[str, str]]
    spread: frozenset[str]


async def merge_legs(
    tx: Transaction,
    org_id: UUID,
    timezone: str,
    rows_csv: bytes,
    digests: Digests,
    *,
    import_id: UUID | None = None,
) -> calls.Merged:
    """Keep legs, by `store.STAGED_COLUMNS`, each once, and make their calls anew of all their legs.

    Of a call that was erased, and stays out, no leg is kept.
    """
    await alias_store.exclude_changes(
        tx, org_id
    )  # else a call might be erased between its two reads
    await store.stage(tx, org_id, rows_csv)
    staged = await store.staged_calls(tx, org_id)
    merged = calls.Merged()
    beyond: list[tuple[str, str]] = []
    for callids in pages(staged, _PAGE_BYTES):
        rows = await store.legs_of(tx, org_id, callids)
        made = await asyncio.to_thread(_make, rows)
        merged |= await calls.merge_calls(
            tx,
            org_id,
            timezone,
            made.rows_csv,
            digests,
            transcripts=made.transcripts,
            import_id=import_id,
        )
        merged |= calls.Merged(spread=made.spread)
        beyond += made.beyond
    await store.merge_staged(tx, org_id)
    if beyond:
        await store.drop_beyond(tx, org_id, *map(list, zip(*beyond, strict=True)))
    return merged


def pages(weighed: Iterable[tuple[str, int]], most: int) -> Iterator[list[str]]:
    """Calls in order, as many at a time as weigh `most` together, one at least."""
    page: list[str] = []
    weight = 0
    for callid, more in weighed:
        if page and weight + more > most:
            yield page
            page, weight = [], 0
        page.append(callid)
        weight += more
    if page:
        yield page


def _make(rows: Sequence[Row]) -> _Made:
    made: list[dict[str, Any]] = []
    beyond: list[tuple[str, str]] = []
    spread: set[str] = set()
    for callid, group in groupby(sorted(rows, key=itemgetter("callid")), itemgetter("callid")):
        found = [Leg(*(row[name] for name in Leg._fields)) for row in group]
        legs = chosen(found)
        if len(legs) < len(found):
            kept = {leg.leg_id for leg in legs}
            beyond += [(callid, leg.leg_id) for leg in found if leg.leg_id not in kept]
        if spread_too_far(legs):
            spread.add(callid)
        made.append({"callid": callid, **join(legs)})
    transcripts = any(one["turns"] for one in made)
    return _Made(_calls_csv(made), transcripts, beyond, frozenset(spread))


def _calls_csv(made: Sequence[dict[str, Any]]) -> bytes:
    for one in made:
        one["phone_cipher"] = hex_bytes(one["phone_cipher"])
        one["turns"] = one["turns"] and json.dumps(one["turns"], ensure_ascii=False)
    columns = [
        pl.Series(name, [one[name] for one in made], dtype=_TYPES.get(name, pl.String()))
        for name in calls.STAGING_COLUMNS
    ]
    return to_csv(pl.DataFrame(columns), calls.STAGING_COLUMNS)


_TYPES: Final = {
    "started_at": pl.Datetime("us", "UTC"),
    "duration_ms": pl.Int64(),
    "bill_ms": pl.Int64(),
    "rounds": pl.Int64(),
    "hangup_by": pl.Int16(),
}
