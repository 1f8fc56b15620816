"""What PostgreSQL indexes of a document, and asks of the index: tsvectors and tsqueries.

A document's vector holds its terms (terms.py), the first characters of those of scripts without
spaces, so that a single character is looked up like any other term, and marks, which no text
contains because they begin with '=': one for the organisation and collection, one for each field,
and those of the spans of time that it lies in (search_walk.py). So one index answers words,
filters, tenancy and time together. Positions are left out: nothing asks for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from shared.data_access.search import walk
from shared.data_access.search.terms import Word, is_unspaced, terms
from shared.data_access.search.walk import EVER, Span


class Place:
    """An organisation's collection, as it is marked in vectors."""

    def __init__(self, org_id: UUID, collection: str) -> None:
        name = f"{org_id}/{collection}"
        self._scope = "=" + _digest(name)
        # SHA-256, because PostgreSQL knows it: a migration has marked what was there before.
        self._times = "=" + hashlib.sha256(name.encode()).hexdigest()[:18]

    def vector(self, text: str, fields: Mapping[str, str], at: int) -> str:
        """The text form of a document's tsvector."""
        found = dict.fromkeys(terms(text))
        initials = dict.fromkeys(term[0] for term in found if is_unspaced(term[0]))
        times = (self._times + mark for mark in walk.marks(at))
        lexemes = (self._scope, *_field_marks(fields), *times, *(found | initials))
        return " ".join(map(_quoted, lexemes))

    def query(
        self, wanted: Sequence[Word], filters: Mapping[str, str], span: Span
    ) -> tuple[str, str]:
        """The text forms of two tsqueries: documents of `span`, with all of `wanted` and `filters`.

        Two, because GIN leaps over what only one of two conditions holds, but reads every entry
        of the rarest term within one.
        """
        where = self._scope if span.level == EVER else self._times + walk.mark(span)
        what = [*map(_quoted, _field_marks(filters)), *_asked(wanted)]
        return _quoted(where), " & ".join(what)


def _asked(wanted: Sequence[Word]) -> Iterable[str]:
    parts: list[str] = []
    for word in wanted:
        parts += map(_quoted, word.terms)
        if word.prefix is not None:
            exact = is_unspaced(word.prefix)
            parts.append(_quoted(word.prefix) + ("" if exact else ":*"))
    return dict.fromkeys(parts)


def _field_marks(fields: Mapping[str, str]) -> list[str]:
    return ["=" + _digest(f"{name}\0{value}") for name, value in fields.items()]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()


def _quoted(term: str) -> str:
    if term.isalnum():
        return f"'{term}'"
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
