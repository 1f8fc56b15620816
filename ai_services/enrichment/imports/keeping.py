"""Keeping a file as it comes: sealed, part by part, each in a transaction of its own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ai_services.enrichment.imports import file_store
from ai_services.enrichment.imports.seal import FileSeal
from ai_services.enrichment.imports.stored_file import PART_BYTES
from shared.data_access.ports import Relational
from shared.errors import Conflict, PayloadTooLarge

MOST_BYTES: Final = 256 << 20  # of a file


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is of a file: its size, a digest of its whole parts, and what comes after them."""

    size: int = 0
    digest: bytes = b""
    tail: bytes = b""

    @property
    def fingerprint(self) -> str:
        """The same for the same content that is to be read in the same way."""
        return hashlib.sha256(self.digest + self.tail).hexdigest()


class Keeper:
    """Adds to one file. `kept` is what is stored of it."""

    def __init__(
        self, db: Relational, data_key: bytes, org_id: UUID, import_id: UUID, kept: Kept
    ) -> None:
        self.kept = kept
        self._db = db
        self._seal = FileSeal(data_key, org_id, import_id)
        self._org_id = org_id
        self._import_id = import_id
        self._held = bytearray(kept.tail)

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Keep all whole parts of what comes; the rest is held until `rest`.

        Raises what `pieces` raise, PayloadTooLarge beyond MOST_BYTES, Conflict where somebody else
        adds to the file.
        """
        async for piece in pieces:
            whole = self.kept.size - len(self.kept.tail)
            if whole + len(self._held) + len(piece) > MOST_BYTES:
                raise PayloadTooLarge(
                    f"The file has more than {MOST_BYTES} bytes, the most that is taken. Split it."
                )
            self._held += piece
            while len(self._held) >= PART_BYTES:
                part = bytes(self._held[:PART_BYTES])
                del self._held[:PART_BYTES]
                await self._put(part)

    async def rest(self) -> None:
        """Keep what is held: less than a part."""
        if bytes(self._held) != self.kept.tail:
            await self._put(bytes(self._held))

    async def _put(self, part: bytes) -> None:
        """The part with which the file goes on after its whole ones; in place of the tail."""
        before = self.kept
        start = before.size - len(before.tail)
        number = start // PART_BYTES
        whole = len(part) == PART_BYTES
        digest = hashlib.sha256(before.digest + part).digest() if whole else before.digest
        sealed = self._seal.seal(number, part)
        async with self._db.tenant(self._org_id) as tx:
            grown = await file_store.grow(
                tx, self._org_id, self._import_id, before.size, start + len(part), digest
            )
            if not grown:
                raise Conflict(
                    "Somebody else adds to this file. Ask how far it is, and go on there."
                )
            await file_store.put_part(tx, self._org_id, self._import_id, number, sealed)
        self.kept = Kept(start + len(part), digest, b"" if whole else part)
