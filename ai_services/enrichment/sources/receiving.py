"""Takes what a connected system sends by itself: records in a signed message, each message once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from ai_services.enrichment.importing import Import
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.read_file import Batch, read_records
from ai_services.enrichment.reading.split_records import split_records
from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sources.page import outcomes_of_rows
from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.staging import stage
from ai_services.enrichment.store import Merged
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from shared.data_access.ports import Relational
from shared.errors import LoomaError, NotFound, Unauthenticated
from shared.signed_message import SignedMessage, check_signed, secret_of

# Whoever gets no answer sends a message again, for days.
_REMEMBERED: Final = timedelta(days=14)
_NOBODYS: Final = secrets.token_bytes(
    32
)  # a name that no source has takes as long as one that does


@dataclass(frozen=True, slots=True)
class Received:
    """What a message brought; `org_id` is whose it was. `repeated`: it had come before."""

    org_id: UUID
    batch: Batch | None
    merged: Merged
    import_id: UUID | None
    repeated: bool


async def receive(
    relational: Relational,
    data_key: bytes,
    connected: Connected | None,
    name: str,
    headers: Mapping[str, str],
    body: bytes,
    most: int,
    country: str = DEFAULT_COUNTRY,
) -> Received:
    """The records of one message; a bad record is refused by itself and kept.

    Unauthenticated for a source that takes no messages as for one whose signature is wrong: what
    sources there are is nobody's business who can't sign.
    """
    settings = None if connected is None else connected.settings.get(name)
    try:
        message = await asyncio.to_thread(
            check_signed, headers, body, _secrets(settings), time.time()
        )
    except Unauthenticated:
        if settings is not None and connected is not None:
            connected.metrics.failed(name, "signature")
        raise
    assert settings is not None, "its secret signed the message"
    assert connected is not None
    try:
        records = await asyncio.to_thread(split_records, body, most)
    except LoomaError:
        connected.metrics.failed(name, "message")
        raise
    received = await _bring_in(relational, data_key, settings, message, records, country)
    if received.batch is not None:
        connected.metrics.rows(name, outcomes_of_rows(received.batch, received.merged))
    return received


def _secrets(settings: SourceSettings | None) -> Sequence[bytes]:
    if settings is None or settings.secret is None:
        return (_NOBODYS,)
    return tuple(map(secret_of, settings.secret.split()))


async def _bring_in(
    relational: Relational,
    data_key: bytes,
    settings: SourceSettings,
    message: SignedMessage,
    records: Sequence[bytes],
    country: str,
) -> Received:
    async with relational.system(who="sources") as tx:
        org_id = await store.organisation_id(tx, settings.organisation)
    if org_id is None:
        raise NotFound(
            f"The sources file gives {settings.name} to {settings.organisation}, which is no organisation."
        )
    cipher = PhoneCipher(data_key, org_id, country)
    batch, staged = await asyncio.to_thread(_read, records, settings, cipher)
    now = datetime.now(UTC)
    # One transaction: a message that is known is in as a whole.
    async with relational.tenant(org_id) as tx:
        if not await store.take_message(tx, org_id, settings.name, message.message_id):
            return Received(org_id, None, Merged(), None, repeated=True)
        await store.forget_messages(tx, org_id, settings.name, now - _REMEMBERED)
        run = await Import.begin(
            tx, org_id, settings.name, settings.preset.name, listed=bool(batch.rejects)
        )
        merged = await run.merge(tx, batch, staged, cipher.digests)
        await run.finish(tx)
    return Received(org_id, batch, merged, run.import_id, repeated=False)


def _read(
    records: Sequence[bytes], settings: SourceSettings, cipher: PhoneCipher
) -> tuple[Batch, bytes]:
    batch = read_records(
        records, preset=settings.preset, timezone=settings.timezone, country=cipher.country
    )
    return batch, stage(batch.frame, cipher)
