"""The header fields of a request, and the credential among them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
_NONE: Final[tuple[str, ...]] = ()


class Credential:
    """An access token or an API key.

    `digest` is the SHA-256 of the whole `text`: nothing is remembered by anything less.
    """

    def __init__(self, text: str, *, is_key: bool) -> None:
        self.text = text
        self.is_key = is_key
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

    def may_be_token(self) -> bool:
        """Whether it has the characters of one (RFC 6750); long, so asked only before verifying."""
        return _TOKEN.fullmatch(self.text) is not None


class Headers:
    """Names in lower case, in the order in which they came. Nobody changes them.

    A client repeats its fields from request to request; those of one connection then share one of
    these (see `parse_head`). So what is worked out of all fields once is kept with them: it is true
    as long as they are the same.
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._first = dict(pairs)
        self.repeated = len(self._first) != len(pairs)  # some name came more than once
        if self.repeated:
            self._first = dict(reversed(pairs))
        self.forwarded: str | None = None  # see header_policy.forwarded_block
        self.credential: Credential | None = None  # see auth.identity

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Headers:
        """Of names in any case."""
        return cls([(name.lower(), value) for name, value in pairs])

    def learn_from(self, before: Headers) -> None:
        """Take over what is known of a credential that is the same in both."""
        if before.credential is None or self.repeated or before.repeated:
            return
        first, theirs = self._first, before._first
        if first.get("authorization") == theirs.get("authorization") and first.get(
            "x-api-key"
        ) == theirs.get("x-api-key"):
            self.credential = before.credential

    def __contains__(self, name: object) -> bool:
        return name in self._first

    def __getitem__(self, name: str) -> str:
        """The first value; KeyError without one."""
        return self._first[name]

    def get(self, name: str, default: str = "") -> str:
        """The first value."""
        return self._first.get(name, default)

    def find(self, name: str) -> str | None:
        """The first value; None without one."""
        return self._first.get(name)

    def getall(self, name: str) -> Sequence[str]:
        """All values, in their order."""
        if not self.repeated:
            value = self._first.get(name)
            return _NONE if value is None else (value,)
        return [value for key, value in self._pairs if key == name]

    def items(self) -> list[tuple[str, str]]:
        return self._pairs
