"""Phone numbers at rest: AES-SIV (RFC 5297), the organisation as associated data.

SIV is deterministic: the same number of the same organisation gives the same ciphertext, so a
record that comes again compares equal, and equality of numbers is all that a thief of the
table learns.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.identity import customer_of, identity_key
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from shared.errors import InternalError
from shared.phones import mask_phone

_HOME = "+86"  # is left out where numbers are shown: 138****8000


class PhoneCipher:
    """Encrypts the phone numbers of one organisation, and knows its customers by them.

    `identity` makes the customer's id of a number in its one spelling (None of one that can't be dialled
    from anywhere), `digests` tells who was erased.
    """

    def __init__(self, data_key: bytes, org_id: UUID, country: str = DEFAULT_COUNTRY) -> None:
        # A key of its own, derived: the data key protects other things too.
        self._siv = AESSIV(hashlib.sha512(b"looma phone\0" + data_key).digest())
        self._associated = [org_id.bytes]
        self.country = country  # of numbers without a country code
        # Customers are called again and again: most numbers of a batch repeat.
        self.protect = lru_cache(maxsize=65_536)(self._protect)
        identity = partial(customer_of, key=identity_key(data_key, org_id))
        self.identity = lru_cache(maxsize=65_536)(identity)
        self.digests = Digests(data_key, org_id)

    def _protect(self, phone: str) -> tuple[bytes, str]:
        """(ciphertext, masked form) of a number in its one spelling (validation/phone_number.py)."""
        shown = mask_phone(phone.removeprefix(_HOME))
        return self._siv.encrypt(phone.encode(), self._associated), shown

    def reveal(self, cipher: bytes) -> str:
        try:
            return self._siv.decrypt(cipher, self._associated).decode()
        except InvalidTag as error:
            raise InternalError(
                "A stored phone number does not decrypt with this DATA_KEY."
            ) from error
