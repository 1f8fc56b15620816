"""A file that is kept in PostgreSQL, as those who read files see it: one part of it in memory."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, Final, Literal
from uuid import UUID

from ai_services.enrichment.imports import file_store
from ai_services.enrichment.imports.seal import FileSeal
from shared.data_access.ports import Relational
from shared.errors import NotFound, StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART_BYTES: Final = 1 << 20
_LONGEST_S: Final = 120.0  # for one part


class StoredFile:
    """Made in the event loop, read in a thread: the loop fetches what the thread waits for.

    `name` is what errors call it; its suffixes tell what its content may leave open. Reading raises
    StoreUnavailable, and NotFound for a file that is deleted meanwhile.
    """

    def __init__(
        self,
        db: Relational,
        data_key: bytes,
        org_id: UUID,
        import_id: UUID,
        *,
        name: str,
        size: int,
    ) -> None:
        self.name: Final = name
        self.size: Final = size
        self._db = db
        self._seal = FileSeal(data_key, org_id, import_id)
        self._org_id = org_id
        self._import_id = import_id
        self._loop = asyncio.get_running_loop()

    @property
    def suffixes(self) -> Sequence[str]:
        return PurePath(self.name).suffixes

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        del mode
        return io.BufferedReader(_Parts(self._part, self.size))

    def _part(self, number: int) -> bytes:
        fetching = asyncio.run_coroutine_threadsafe(self._fetch(number), self._loop)
        try:
            sealed = fetching.result(_LONGEST_S)
        except TimeoutError:
            fetching.cancel()
            raise StoreUnavailable("A part of the file took too long to come.") from None
        if sealed is None:
            raise NotFound("The file is no longer kept. Send it again.")
        return self._seal.open(number, sealed)

    async def _fetch(self, number: int) -> bytes | None:
        async with self._db.tenant(self._org_id, readonly=True) as tx:
            return await file_store.part(tx, self._org_id, self._import_id, number)


class _Parts(io.RawIOBase):
    """Parts of PART_BYTES, but for the last, as one file."""

    def __init__(self, part: Callable[[int], bytes], size: int) -> None:
        self._part = part
        self._size = size
        self._at = 0
        self._number = -1
        self._data = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._at >= self._size:
            return 0
        number, start = divmod(self._at, PART_BYTES)
        if number != self._number:
            self._data, self._number = self._part(number), number
        target = memoryview(buffer).cast("B")
        piece = self._data[start : start + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
