"""Files at rest: AES-256-GCM, each part for its organisation, file and place only."""

from __future__ import annotations

import hashlib
import os
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import InternalError

_NONCE: Final = 12  # bytes, random: a key is good for 2^32 parts, four petabytes


class FileSeal:
    """Seals and opens the parts of one file."""

    def __init__(self, data_key: bytes, org_id: UUID, import_id: UUID) -> None:
        # A key of its own, derived: the data key protects other things too.
        self._aead = AESGCM(hashlib.sha256(b"looma import\0" + data_key).digest())
        self._whose = org_id.bytes + import_id.bytes

    def seal(self, number: int, part: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, part, self._associated(number))

    def open(self, number: int, sealed: bytes) -> bytes:
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._associated(number))
        except InvalidTag as error:
            raise InternalError("A kept file does not decrypt with this DATA_KEY.") from error

    def _associated(self, number: int) -> bytes:
        return self._whose + number.to_bytes(8, "big")
