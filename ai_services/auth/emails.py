"""E-mail addresses: one written form per mailbox."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import InvalidInput

MAX_LENGTH: Final = 254  # RFC 5321, 4.5.3.1.3

# The rule of HTML's <input type=email>: ASCII only, so that no two addresses look alike.
_VALID: Final = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)


def normalise_email(text: str) -> str | None:
    """`text` trimmed and in lower case; None if it is no e-mail address."""
    email = text.strip().lower()
    if len(email) > MAX_LENGTH or _VALID.fullmatch(email) is None:
        return None
    return email


def require_email(text: str) -> str:
    """As `normalise_email`; raises InvalidInput."""
    email = normalise_email(text)
    if email is None:
        fix = "send one such as ops@example.com"
        raise InvalidInput.of("email", "is not an e-mail address", fix)
    return email
