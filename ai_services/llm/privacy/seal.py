"""What is kept of requests and answers, encrypted at rest: AES-256-GCM, each piece for its organisation
and place only.
"""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE: Final = 12  # bytes, random
_KEY: Final = 32


class Seal:
    """`label` says what is kept: each has keys of its own, and each organisation in it."""

    def __init__(self, data_key: bytes, label: bytes) -> None:
        self._data_key = data_key
        self._label = label + b"\0"

    def seal(self, org_id: UUID, place: bytes, content: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher(org_id).encrypt(nonce, content, org_id.bytes + place)

    def open(self, org_id: UUID, place: bytes, sealed: bytes) -> bytes | None:
        """None: sealed with another DATA_KEY, for another place, or spoilt."""
        nonce, rest = sealed[:_NONCE], sealed[_NONCE:]
        if len(nonce) < _NONCE:
            return None
        try:
            return self._cipher(org_id).decrypt(nonce, rest, org_id.bytes + place)
        except InvalidTag:
            return None  # whoever asks says what that means there

    def _cipher(self, org_id: UUID) -> AESGCM:
        # Keys of their own, derived: the data key protects other things, and other organisations.
        info = self._label + org_id.bytes
        return AESGCM(HKDF(SHA256(), _KEY, salt=None, info=info).derive(self._data_key))
