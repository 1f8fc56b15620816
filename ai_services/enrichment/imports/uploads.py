"""Files that come in several requests: whoever is cut off asks how much has come, and goes on there.

As the IETF's draft on resumable uploads for HTTP has it (draft-ietf-httpbis-resumable-upload), without
its interim answers: an upload is made first, then appended to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from ai_services.enrichment.imports import file_store, store
from ai_services.enrichment.imports.how_to_read import HowToRead
from ai_services.enrichment.imports.keeping import MOST_BYTES, Keeper, Kept
from ai_services.enrichment.imports.receiving import (
    Sent,
    finish,
    first_digest,
    forget,
    make_room,
    receive,
)
from ai_services.enrichment.imports.seal import FileSeal
from ai_services.enrichment.imports.stored_file import PART_BYTES
from shared.data_access.ports import Relational
from shared.errors import Conflict, InvalidInput, NotFound

EXPIRES_S: Final = 3600  # after the last of it came: imports/sweep.py
PARTIAL: Final = "application/partial-upload"
_NONE: Final = "There is no such upload, or it has expired. Begin a new one."
LIMIT: Final = f"max-size={MOST_BYTES}, max-age={EXPIRES_S}"


class OffsetMismatch(Conflict):
    """What is sent doesn't go on where the upload ends; `Upload-Offset` says where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            f"The upload has {offset} bytes. Go on there: Upload-Offset: {offset}.",
        )
        self.offset = offset

    def headers(self) -> dict[str, str]:
        return {"Upload-Offset": str(self.offset), "Upload-Complete": "?0"}


@dataclass(frozen=True, slots=True)
class Upload:
    """`offset` bytes of it have come; `job_id` imports it once that is all."""

    upload_id: UUID
    offset: int
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    sent: Sent
    kept: Kept


async def begin(
    db: Relational, data_key: bytes, org_id: UUID, sent: Sent, *, complete: bool
) -> int | Upload:
    """The job of a file that comes as a whole (see `receive`), or an upload that begins with it."""
    if complete:
        return await receive(db, data_key, org_id, sent)
    return await create(db, data_key, org_id, sent)


async def create(db: Relational, data_key: bytes, org_id: UUID, sent: Sent) -> Upload:
    """An upload that begins with what `sent` has; TooManyRequests as `receive`."""
    upload_id = uuid4()
    await make_room(db, org_id, upload_id, sent, resumable=True)
    keeper = Keeper(db, data_key, org_id, upload_id, Kept(digest=first_digest(sent)))
    try:
        await _take(keeper, sent.parts)
    except BaseException:
        # Nobody has been told of it.
        await asyncio.shield(forget(db, org_id, upload_id))
        raise
    return Upload(upload_id, keeper.kept.size)


async def ask(db: Relational, org_id: UUID, upload_id: UUID) -> Upload:
    """NotFound for one that there isn't, or that has expired."""
    async with db.tenant(org_id, readonly=True) as tx:
        row = await file_store.open_upload(tx, org_id, upload_id)
        if row is not None:
            return Upload(upload_id, row["bytes"])
        found = await store.get_import(tx, org_id, upload_id)
    if found is None or found["job_id"] is None:
        raise NotFound(_NONE)
    return Upload(upload_id, 0, found["job_id"])


async def append(
    db: Relational,
    data_key: bytes,
    org_id: UUID,
    upload: Upload,
    pieces: AsyncIterator[bytes],
    *,
    complete: bool,
) -> int | Upload:
    """Add to it from `upload.offset` on: how far it is, or the job if that was all of it.

    What came before somebody was cut off is kept. NotFound, OffsetMismatch; a file that is refused
    when it is whole (FileRefused) is gone.
    """
    if (await ask(db, org_id, upload.upload_id)).job_id is not None:
        raise Conflict("All of it has come already.")
    known = await _known(db, data_key, org_id, upload.upload_id)
    if known.kept.size != upload.offset:
        raise OffsetMismatch(known.kept.size)
    keeper = Keeper(db, data_key, org_id, upload.upload_id, known.kept)
    await _take(keeper, pieces)
    if not complete:
        return Upload(upload.upload_id, keeper.kept.size)
    return await finish(db, data_key, org_id, upload.upload_id, known.sent, keeper.kept)


async def give_up(db: Relational, org_id: UUID, upload_id: UUID) -> None:
    """Delete what has come of it. NotFound; Conflict once all of it has come."""
    if (await ask(db, org_id, upload_id)).job_id is not None:
        raise Conflict("All of it has come. Cancel its job, or take the import back.")
    await forget(db, org_id, upload_id)


async def _take(keeper: Keeper, pieces: AsyncIterator[bytes]) -> None:
    try:
        await keeper.take(pieces)
    except Conflict:  # somebody else's is kept
        raise
    except BaseException:
        await asyncio.shield(keeper.rest())
        raise
    await keeper.rest()


async def _known(db: Relational, data_key: bytes, org_id: UUID, upload_id: UUID) -> _Known:
    async with db.tenant(org_id, readonly=True) as tx:
        row = await file_store.open_upload(tx, org_id, upload_id)
        if row is None:
            raise NotFound(_NONE)
        number, length = divmod(row["bytes"], PART_BYTES)
        sealed = await file_store.part(tx, org_id, upload_id, number) if length else None
    tail = FileSeal(data_key, org_id, upload_id).open(number, sealed) if sealed else b""
    told = row["upload"]
    how = HowToRead.of_args(told["how"])
    sent = Sent(told["name"], _nothing(), how, told["only_tried"])
    return _Known(sent, Kept(row["bytes"], row["digest"], tail))


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


def offset_of(headers: Mapping[str, str]) -> int:
    """What Upload-Offset says; InvalidInput without one."""
    written = headers.get("upload-offset", "").strip()
    if not (written.isascii() and written.isdigit() and len(written) <= 15):
        raise InvalidInput.of(
            "Upload-Offset", "is missing or no whole number", "send how many bytes have come"
        )
    return int(written)


def complete_of(headers: Mapping[str, str], *, unsaid: bool) -> bool:
    """What Upload-Complete says; `unsaid` without one. InvalidInput for what is neither ?0 nor ?1."""
    written = headers.get("upload-complete")
    if written is None:
        return unsaid
    known = {"?0": False, "?1": True}.get(written.strip())
    if known is None:
        raise InvalidInput.of(
            "Upload-Complete", "is neither ?0 nor ?1", "send ?1 with the last part"
        )
    return known
