"""Keyed digests of ids: they tell whether an id is one that was erased, and nobody which that was."""

from __future__ import annotations

import hmac
from typing import Final, Literal
from uuid import UUID

Kind = Literal["call", "customer"]
_BYTES: Final = 20


class Digests:
    """Of one organisation."""

    def __init__(self, data_key: bytes, org_id: UUID) -> None:
        self._key = hmac.digest(data_key, b"looma erased\0" + org_id.bytes, "sha256")

    def of(self, kind: Kind, subject: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{subject}".encode(), "sha256")[:_BYTES]
