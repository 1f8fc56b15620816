"""Phone numbers at rest: AES-SIV (RFC 5297), the organisation as associated data.

SIV is deterministic: the same number of the same organisation gives the same ciphertext, so a
record that comes again compares equal, and equality of numbers is all that a thief of the
table learns.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared.errors import InternalError
from shared.phones import mask_phone

_NOISE = re.compile(r"[\s().-]")


def normalise_phone(phone: str) -> str:
    """`+86 138-1234 8000` → `+8613812348000`."""
    return _NOISE.sub("", phone)


class PhoneCipher:
    """Encrypts the phone numbers of one organisation."""

    def __init__(self, data_key: bytes, org_id: UUID) -> None:
        # A key of its own, derived: the data key protects other things too.
        self._siv = AESSIV(hashlib.sha512(b"looma phone\0" + data_key).digest())
        self._associated = [org_id.bytes]
        # Customers are called again and again: most numbers of a batch repeat.
        self.protect = lru_cache(maxsize=65_536)(self._protect)

    def _protect(self, phone: str) -> tuple[bytes, str]:
        """(ciphertext, masked form) of a number."""
        number = normalise_phone(phone)
        return self._siv.encrypt(number.encode(), self._associated), mask_phone(number)

    def reveal(self, cipher: bytes) -> str:
        try:
            return self._siv.decrypt(cipher, self._associated).decode()
        except InvalidTag as error:
            raise InternalError(
                "A stored phone number does not decrypt with this DATA_KEY."
            ) from error
