"""What a request shows to say who calls: an access token or an API key."""

from __future__ import annotations

import hashlib


class Credential:
    """`digest` is the SHA-256 of the whole `text`: nothing is remembered by anything less."""

    def __init__(self, text: str, *, is_key: bool) -> None:
        self.text = text
        self.is_key = is_key
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
