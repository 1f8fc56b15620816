"""Files that come over HTTP: kept part by part, looked at, given to a job."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID, uuid4

import orjson

from ai_services.enrichment.importing import Import
from ai_services.enrichment.imports import file_store
from ai_services.enrichment.imports.how_to_read import MEDIA_TYPES, HowToRead
from ai_services.enrichment.imports.job import IMPORT_CALLS
from ai_services.enrichment.imports.keeping import Keeper, Kept
from ai_services.enrichment.imports.stored_file import StoredFile
from ai_services.enrichment.imports.try_job import TRY_IMPORT
from shared.data_access.ports import Relational
from shared.errors import InvalidInput, TooManyRequests
from shared.jobs.enqueue import enqueue
from shared.jobs.store.queue import newest_key
from shared.phones import mask_phones

_MOST_FILES: Final = 20  # of an organisation, on their way or waiting for their job
_COME_BACK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A file on its way in. `name` is what the list of imports and errors call it. One that is
    `only_tried` is read, and nothing of it is stored.
    """

    name: str
    parts: AsyncIterator[bytes]
    how: HowToRead
    only_tried: bool = False

    @classmethod
    def named(
        cls,
        name: str | None,
        media: str,
        parts: AsyncIterator[bytes],
        how: HowToRead,
        *,
        only_tried: bool = False,
    ) -> Self:
        """By the name that the sender gave it, or else by what the media type says that it is."""
        named = name or f"upload{MEDIA_TYPES.get(media, '')}"
        return cls(mask_phones(named), parts, how, only_tried)

    def to_json(self) -> dict[str, Any]:
        """All but its content."""
        return {"name": self.name, "how": self.how.to_args(), "only_tried": self.only_tried}


async def receive(db: Relational, data_key: bytes, org_id: UUID, sent: Sent) -> int:
    """Keep the file and have it imported; the job. The same file again, while it is the last one that
    was sent and its job is unfinished, gets that one.

    Nothing is left of a file that doesn't come to its end, or is refused: TooManyRequests while
    `_MOST_FILES` wait, FileRefused (InvalidInput) for what is no file of calls, and whatever reading
    its parts raises.
    """
    import_id = uuid4()
    await make_room(db, org_id, import_id, sent)
    keeper = Keeper(db, data_key, org_id, import_id, Kept(digest=first_digest(sent)))
    try:
        await keeper.take(sent.parts)
        await keeper.rest()
        return await finish(db, data_key, org_id, import_id, sent, keeper.kept)
    except BaseException:
        await asyncio.shield(forget(db, org_id, import_id))
        raise


async def make_room(
    db: Relational, org_id: UUID, import_id: UUID, sent: Sent, *, resumable: bool = False
) -> None:
    """Begin to keep a file, in one request or, if `resumable`, in several. TooManyRequests."""
    told = sent.to_json() if resumable else None
    async with db.tenant(org_id) as tx:
        await file_store.await_turn(tx, org_id)
        if not await file_store.begin_file(
            tx, org_id, import_id, first_digest(sent), told, most=_MOST_FILES
        ):
            raise TooManyRequests(
                f"{_MOST_FILES} files of your organisation are on their way or wait to be imported. "
                "Send the next ones when some of them are done: GET /api/v1/jobs shows them.",
                retry_after=_COME_BACK_S,
            )


def first_digest(sent: Sent) -> bytes:
    """Of how it is to be read: the same content read in another way is another file."""
    return hashlib.sha256(orjson.dumps(sent.how.to_args(), option=orjson.OPT_SORT_KEYS)).digest()


async def finish(
    db: Relational, data_key: bytes, org_id: UUID, import_id: UUID, sent: Sent, kept: Kept
) -> int:
    """The job that imports what has come. A file that is refused (FileRefused) is gone."""
    file = StoredFile(db, data_key, org_id, import_id, name=sent.name, size=kept.size)
    try:
        await asyncio.to_thread(sent.how.check, file)
    except InvalidInput:
        await asyncio.shield(forget(db, org_id, import_id))
        raise
    job_id, ours = await _enqueue(db, org_id, import_id, sent, kept.fingerprint)
    if not ours:
        await forget(db, org_id, import_id)
    return job_id


async def _enqueue(
    db: Relational, org_id: UUID, import_id: UUID, sent: Sent, digest: str
) -> tuple[int, bool]:
    """The job, and whether it is this file that it imports."""
    args = {"import_id": str(import_id), "name": sent.name, "how": sent.how.to_args()}
    async with db.tenant(org_id) as tx:
        await file_store.await_turn(tx, org_id)
        # Only the last one: what is sent again after another file is to hold again.
        kind = TRY_IMPORT if sent.only_tried else IMPORT_CALLS
        last = await newest_key(tx, org_id, kind.name)
        key = f"{digest}/{import_id}"
        if last is not None and last[1].startswith(digest):
            return last[0], last[1] == key
        job_id = (await enqueue(tx, kind, args, org_id=org_id, key=key)).job_id
        if not sent.only_tried:
            await Import.begin(
                tx, org_id, sent.name, sent.how.shown, import_id=import_id, job_id=job_id
            )
        await file_store.give_to_job(tx, org_id, import_id, job_id)
    return job_id, True


async def forget(db: Relational, org_id: UUID, import_id: UUID) -> None:
    async with db.tenant(org_id) as tx:
        await file_store.delete_file(tx, org_id, import_id)
