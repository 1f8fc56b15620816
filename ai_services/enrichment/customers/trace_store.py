"""The queries of what imports keep of rows, where an id that is erased may stand: rejected rows, notes.

There may be millions of them, and hundreds of ids. A row is split into words once, of which each is looked
up among those of the ids; only a row that has one is searched for the ids themselves. It is done page by
page, in the order of a table's key, so that a transaction is short whatever there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shared.data_access.ports import Transaction

Place = tuple[UUID, int]  # of a row: its import, its line
START: Final[Place] = (UUID(int=0), -1)
_PAGE: Final = 2_000  # rows
_WORD: Final = "'[[:alnum:]_-]+'"
# One word of each id, the longest. Which characters are a word's is PostgreSQL's to say.
_WORDS: Final = f"""
SELECT id, (SELECT words[1] FROM regexp_matches(id, {_WORD}, 'g') AS found (words)
            ORDER BY length(words[1]) DESC LIMIT 1) AS word
FROM unnest($1::text[]) AS id
"""  # noqa: S608 - constants only
_FEW: Final = 8  # ids are sought as they are: faster than splitting each row
# {text}: what is searched for the words $6, the ids as they are $7, the pattern of all ids $8.
_HOLDS: Final = f"""CASE WHEN cardinality($6::text[]) > 0 AND EXISTS (
        SELECT FROM regexp_matches({{text}}, {_WORD}, 'g') AS found (words)
        WHERE words[1] IN (SELECT unnest($6::text[])))
      OR EXISTS (SELECT FROM unnest($7::text[]) AS id WHERE strpos({{text}}, id) > 0)
    THEN {{text}} ~ $8 ELSE false END"""  # noqa: S608 - constants only
_WITHIN: Final = """org_id = $1 AND (import_id, line) > ($2, $3)
  AND (import_id, line) <= ($4, $5)"""
_END: Final = """
SELECT import_id, line FROM (
    SELECT import_id, line FROM {table} WHERE org_id = $1 AND (import_id, line) > ($2, $3)
    ORDER BY import_id, line LIMIT $4) AS page
ORDER BY import_id DESC, line DESC LIMIT 1
"""
_RUNS: Final = "(SELECT org_id, import_id, 0::bigint AS line FROM import_run) AS run"
_COUNT: Final = """
SELECT (SELECT count(*) FROM (SELECT FROM import_reject WHERE org_id = $1 LIMIT $2) AS r)
     + (SELECT count(*) FROM (SELECT FROM import_note WHERE org_id = $1 LIMIT $2) AS n)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of what is kept: where a page of it ends, and how what holds an id is forgotten."""

    end: str
    forget: str


_REJECT: Final = "(raw || ' ' || value)"
_NOTE: Final = "(value || ' ' || problem)"
_NOTES: Final = "array_to_string(notes, ' ')"
_LEAVE_OUT: Final = """notes = ARRAY(
    SELECT note FROM unnest(notes) WITH ORDINALITY AS told (note, place)
    WHERE NOT note ~ $8 ORDER BY place)"""
_OF_RUNS: Final = _WITHIN.replace("line", "0::bigint")
REJECTS: Final = Kept(
    _END.format(table="import_reject"),
    f"DELETE FROM import_reject WHERE {_WITHIN} AND {_HOLDS.format(text=_REJECT)}",  # noqa: S608 - constants only
)
NOTES: Final = Kept(
    _END.format(table="import_note"),
    f"DELETE FROM import_note WHERE {_WITHIN} AND {_HOLDS.format(text=_NOTE)}",  # noqa: S608 - constants only
)
NOTES_OF_RUNS: Final = Kept(
    _END.format(table=_RUNS),
    f"UPDATE import_run SET {_LEAVE_OUT} WHERE {_OF_RUNS} AND {_HOLDS.format(text=_NOTES)}",  # noqa: S608 - constants only
)


@dataclass(frozen=True, slots=True)
class Sought:
    """Ids that are sought: words by which they are found, those that are sought as they are, as they have
    no word or are few, and a pattern of all.
    """

    words: Sequence[str]
    plain: Sequence[str]
    pattern: str


async def seek(tx: Transaction, ids: Sequence[str], pattern: str) -> Sought:
    """What `forget` needs to find these ids, whole, as `pattern` has them."""
    if len(ids) <= _FEW:
        return Sought([], ids, pattern)
    rows = await tx.fetch(_WORDS, list(ids))
    words = {row["word"] for row in rows if row["word"] is not None}
    return Sought(sorted(words), [row["id"] for row in rows if row["word"] is None], pattern)


async def forget(
    tx: Transaction, org_id: UUID, kept: Kept, sought: Sought, after: Place, page: int = _PAGE
) -> tuple[int, Place | None]:
    """Forget what holds one of the ids in the next page: how many rows, and where that ends, if there was
    one.
    """
    row = await tx.fetchrow(kept.end, org_id, *after, page)
    if row is None:
        return 0, None
    end = (row["import_id"], row["line"])
    forgotten = await tx.execute(
        kept.forget, org_id, *after, *end, list(sought.words), list(sought.plain), sought.pattern
    )
    return forgotten, end


async def count(tx: Transaction, org_id: UUID, most: int) -> int:
    """Rejected rows and notes of rows that are kept, `most` of either at most."""
    found: int = await tx.fetchval(_COUNT, org_id, most)
    return found
