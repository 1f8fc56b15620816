"""Files of batches: kept encrypted, for a month, and given to nobody but their organisation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid4

from ai_services.llm.batches import file_store
from ai_services.llm.privacy.seal import Seal
from shared.data_access.ports import Relational, Row
from shared.errors import InvalidInput, NotFound

MOST_BYTES: Final = 32 << 20  # of a file that is sent
_ALL_BYTES: Final = 1 << 30  # of the files of an organisation


@dataclass(frozen=True, slots=True)
class KeptFile:
    file_id: UUID
    purpose: Literal["batch", "batch_output"]
    filename: str
    bytes: int
    created_at: datetime


class Files:
    """`keep` what a client sends, `content` of what is kept."""

    def __init__(self, relational: Relational, seal: Seal) -> None:
        self._relational = relational
        self._seal = seal

    async def keep(self, org_id: UUID, filename: str, content: bytes) -> KeptFile:
        """A file of requests; InvalidInput where the organisation keeps too much."""
        file_id = uuid4()
        sealed = await asyncio.to_thread(self._seal.seal, org_id, place_of(file_id), content)
        async with self._relational.tenant(org_id) as tx:
            kept = await file_store.size(tx, org_id)
            if kept + len(content) > _ALL_BYTES:
                problem = f"your organisation keeps files of {kept} bytes, of {_ALL_BYTES} at most"
                raise InvalidInput.of("file", problem, "delete files that are not needed")
            await file_store.insert(tx, org_id, file_id, "batch", filename, len(content), sealed)
            return _file(await file_store.read(tx, org_id, file_id))

    async def about(self, org_id: UUID, file_id: UUID) -> KeptFile:
        """NotFound for one of another organisation, too."""
        async with self._relational.tenant(org_id, readonly=True) as tx:
            return _file(await file_store.read(tx, org_id, file_id))

    async def content(self, org_id: UUID, file_id: UUID) -> bytes:
        """NotFound as above, and for one that was encrypted with another DATA_KEY."""
        async with self._relational.tenant(org_id, readonly=True) as tx:
            sealed = await file_store.content(tx, org_id, file_id)
        if sealed is None:
            raise _none()
        content = await asyncio.to_thread(self._seal.open, org_id, place_of(file_id), sealed)
        if content is None:
            raise NotFound("The file was kept under another DATA_KEY and can't be read any more.")
        return content

    async def delete(self, org_id: UUID, file_id: UUID) -> None:
        """NotFound as above. A batch that was made of it goes on."""
        async with self._relational.tenant(org_id) as tx:
            if not await file_store.delete(tx, org_id, file_id):
                raise _none()


def place_of(file_id: UUID) -> bytes:
    """What its content is sealed for."""
    return b"file" + file_id.bytes


def _none() -> NotFound:
    return NotFound(f"There is no such file. Files are kept for {file_store.KEPT_DAYS} days.")


def _file(row: Row | None) -> KeptFile:
    if row is None:
        raise _none()
    return KeptFile(**row)
