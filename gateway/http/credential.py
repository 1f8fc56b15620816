"""What a request shows to say who calls: an access token or an API key."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Credential:
    """`digest` is the SHA-256 of the whole `text`: nothing is remembered by anything less."""

    def __init__(self, text: str, *, is_key: bool) -> None:
        self.text = text
        self.is_key = is_key
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

    def may_be_token(self) -> bool:
        """Whether it has the characters of one (RFC 6750); long, so asked only before verifying."""
        return _TOKEN.fullmatch(self.text) is not None
