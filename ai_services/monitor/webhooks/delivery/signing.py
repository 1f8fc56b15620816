"""Secrets of webhooks, and the signatures made with them, as Standard Webhooks has it.

A secret is 32 random bytes, shown as `whsec_` and base64. It rests as AES-256-GCM under a key derived
from DATA_KEY, bound to its webhook.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigError
from shared.signed_message import ID, MARK, SIGNATURE, TIMESTAMP, sign

_BYTES: Final = 32
_NONCE_BYTES: Final = 12


def new_secret() -> bytes:
    return secrets.token_bytes(_BYTES)


def shown(secret: bytes) -> str:
    """As its owner gets to see it, once."""
    return MARK + base64.b64encode(secret).decode()


@dataclass(frozen=True, slots=True)
class Seal:
    """Closes and opens secrets for the store."""

    data_key: bytes = field(repr=False)

    def close(self, org_id: UUID, webhook_id: UUID, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher().encrypt(nonce, secret, org_id.bytes + webhook_id.bytes)

    def open(self, org_id: UUID, webhook_id: UUID, sealed: bytes) -> bytes:
        """ConfigError if DATA_KEY is not the one it was closed with."""
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher().decrypt(nonce, text, org_id.bytes + webhook_id.bytes)
        except InvalidTag as error:
            raise ConfigError(
                "DATA_KEY: the secrets of webhooks were encrypted with another one. "
                "Set DATA_KEY back, or give each webhook a new secret."
            ) from error

    def _cipher(self) -> AESGCM:
        # A key of its own: DATA_KEY is never used for two purposes.
        return AESGCM(hashlib.sha256(b"looma webhook secret\0" + self.data_key).digest())


def signed_headers(
    signers: Sequence[bytes], message_id: str, at: int, body: bytes
) -> dict[str, str]:
    """The three headers of a message sent at `at` (Unix seconds), signed by each secret."""
    return {
        ID: message_id,
        TIMESTAMP: str(at),
        SIGNATURE: " ".join(sign(secret, message_id, at, body) for secret in signers),
    }
