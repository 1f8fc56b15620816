"""Ed25519 key pairs: made, sealed for the store, opened again.

The private part rests as AES-256-GCM under a key derived from DATA_KEY, bound to its `kid`.
The public part is a JWK (RFC 8037) whose `kid` is its thumbprint (RFC 7638).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ai_services.auth.store.signing import SealedKey
from shared.errors import ConfigError

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    private: Ed25519PrivateKey = field(repr=False)


def make(data_key: bytes) -> SealedKey:
    """A new key pair, ready for the store."""
    private = Ed25519PrivateKey.generate()
    x = _base64(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    members = {"crv": "Ed25519", "kty": "OKP", "x": x}
    kid = _base64(hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + _cipher(data_key).encrypt(nonce, pem, kid.encode())
    return SealedKey(kid, sealed, {**members, "kid": kid, "alg": "EdDSA", "use": "sig"})


def unseal(key: SealedKey, data_key: bytes) -> SigningKey:
    """The usable key; ConfigError if `data_key` is not the one it was sealed with."""
    nonce, text = key.sealed[:_NONCE_BYTES], key.sealed[_NONCE_BYTES:]
    try:
        pem = _cipher(data_key).decrypt(nonce, text, key.kid.encode())
    except (InvalidTag, ValueError) as error:
        raise ConfigError(
            "DATA_KEY: the key that signs access tokens was encrypted with another one. "
            "Set DATA_KEY back, or make a new signing key with `looma keys rotate`."
        ) from error
    private = load_pem_private_key(pem, None)
    assert isinstance(private, Ed25519PrivateKey)  # `make` writes nothing else
    return SigningKey(key.kid, private)


def _cipher(data_key: bytes) -> AESGCM:
    # A key of its own: DATA_KEY is never used for two purposes.
    return AESGCM(hashlib.sha256(b"looma signing key\0" + data_key).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
