"""Correcting the analysis of a call, withdrawing that, and the history of both.

Who corrects locks the call, as whoever analyses or brings it in does: of two at once the last one
holds, and the history has both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ai_services.enrichment.analysis.chain.asking.verdict import OTHER_TOPIC
from ai_services.enrichment.analysis.chain.wanted import wanted_by
from ai_services.enrichment.analysis.corrections import store
from ai_services.enrichment.analysis.corrections.facts import INSIGHT_FACTS, decided, with_pairs
from ai_services.enrichment.analysis.corrections.store import Correction, Entry, Kind
from ai_services.enrichment.events import announce_analyses
from shared.audit import trail
from shared.cursor import Listing, Page, number
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Wish:
    """The facts as a person has them; `version`: only if the correction is at that one (0: there is none)."""

    facts: Mapping[str, Any]
    reason: str | None = None
    version: int | None = None


async def correct(
    db: Relational,
    org_id: UUID,
    callid: str,
    wish: Wish,
    *,
    actor: str,
    labels: Collection[str] = (),
) -> Correction:
    """Let these facts hold whatever analysers say; the reason takes the place of theirs.

    The same again changes nothing. `labels` are topics beside the organisation's own. NotFound;
    InvalidInput names a fact that can't be; Conflict for another version.
    """
    async with db.tenant(org_id) as tx:
        before = await _held(tx, org_id, callid, wish.version)
        await _check_topic(tx, org_id, wish.facts.get("topic", OTHER_TOPIC), labels)
        current = (await store.current(tx, org_id, [callid]))[callid]
        facts = decided(wish.facts, current)
        if wish.reason is not None:
            facts["reason"] = wish.reason
        if all(before.facts.get(fact, ...) == value for fact, value in facts.items()):
            return before
        analysed = {fact: current[fact] for fact in facts} | dict(before.analysed)
        now = Correction(
            before.version + 1, {**before.facts, **facts}, analysed, datetime.now(UTC), actor
        )
        shown = {fact: current[fact] for fact in facts}
        await _write(tx, org_id, callid, now, "corrected", shown, facts, wish.reason)
    return now


async def withdraw(
    db: Relational,
    org_id: UUID,
    callid: str,
    *,
    actor: str,
    facts: Collection[str] | None = None,
    version: int | None = None,
) -> Correction:
    """Let the analyser's verdict hold again, of these facts or of all.

    A sentiment and its score go together. Where nothing is corrected nothing changes. NotFound;
    Conflict for another version.
    """
    async with db.tenant(org_id) as tx:
        before = await _held(tx, org_id, callid, version)
        wanted = with_pairs(frozenset(before.facts if facts is None else facts))
        gone = {fact: value for fact, value in before.facts.items() if fact in wanted}
        if not gone:
            return before
        back = {fact: before.analysed[fact] for fact in gone}
        now = Correction(
            before.version + 1,
            {fact: value for fact, value in before.facts.items() if fact not in gone},
            {fact: value for fact, value in before.analysed.items() if fact not in gone},
            datetime.now(UTC),
            actor,
        )
        await _write(tx, org_id, callid, now, "withdrawn", gone, back, None)
        if not now.facts.keys() & set(INSIGHT_FACTS):
            await store.end_insight(tx, org_id, callid)
    return now


async def history(
    db: Relational, org_id: UUID, callid: str, *, cursor: str | None, limit: int
) -> tuple[Correction, Page[Entry]]:
    """What holds, and every change, newest first. NotFound."""
    pages = Listing("corrections", (str(org_id), callid), number)
    before = pages.position(cursor)
    async with db.tenant(org_id, readonly=True) as tx:
        if not await store.is_there(tx, org_id, callid):
            raise _no_call()
        now = await store.get(tx, org_id, callid)
        entries = await store.entries(tx, org_id, callid, before, limit + 1)
    return now, pages.page(entries, limit, lambda one: (one.version,))


async def _held(tx: Transaction, org_id: UUID, callid: str, version: int | None) -> Correction:
    if not await store.hold(tx, org_id, callid):
        raise _no_call()
    found = await store.get(tx, org_id, callid)
    if version is not None and version != found.version:
        raise Conflict(
            f"Somebody else has corrected this call: its corrections are at version {found.version}. "
            "Look at them, and send that version."
        )
    return found


async def _check_topic(tx: Transaction, org_id: UUID, topic: str, labels: Collection[str]) -> None:
    topics = (await wanted_by(tx, org_id)).topics
    if topics and topic not in (*topics, OTHER_TOPIC, *labels):
        raise InvalidInput.of(
            "topic",
            "is none of your organisation's topics",
            f"send one of GET /api/v1/analysis/settings, or {OTHER_TOPIC!r}",
        )


async def _write(
    tx: Transaction,
    org_id: UUID,
    callid: str,
    now: Correction,
    kind: Kind,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    reason: str | None,
) -> None:
    """The call, its history, the event that others follow, and who did it."""
    await store.lay(tx, org_id, {callid: after})
    await store.write(tx, org_id, callid, now)
    entry = await store.add(tx, org_id, callid, now, kind, reason, before, after)
    await announce_analyses(tx, org_id, [callid])
    assert now.corrected_at is not None  # it is written now
    assert now.corrected_by is not None
    # By the correction's id: the log is never changed, and the call may be erased.
    await trail.record(
        tx, org_id, at=now.corrected_at, actor=now.corrected_by, action=f"analysis.{kind}",
        target=f"correction:{entry}", details={"facts": sorted(after), "version": now.version},
    )  # fmt: skip


def _no_call() -> NotFound:
    return NotFound("There is no such call in your organisation.")
