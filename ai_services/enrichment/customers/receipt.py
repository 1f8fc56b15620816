"""What can be shown of an erasure for good: when, by whom, how much, and nothing of whom."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from ai_services.enrichment.customers.erasure_store import Erasure
from shared.ids import MAX_ID_CHARS, one_spelling

_SHORTEST: Final = 4  # an id of fewer characters stands in rows that are not about it
_WITHIN_IDS: Final = "[[:alnum:]_-]"
_WORD: Final = re.compile(r"[\w-]+")
_VALUES: Final = re.compile(r"""[\t\r\n"',;|{}\[\]]+""")
_UP_TO_BLANKS: Final = re.compile(r"""[\s"',;|{}\[\]()<>=]+""")


def receipt(org_id: UUID, erasure: Erasure, finished_at: datetime) -> dict[str, Any]:
    """The facts whose hash stands in the audit log. `digest` is keyed: who knows the id can prove it."""
    return {
        "org_id": str(org_id),
        "erasure_id": str(erasure.erasure_id),
        "kind": erasure.kind,
        "digest": erasure.digest.hex(),
        "requested_at": _utc(erasure.requested_at),
        "requested_by": erasure.requested_by,
        "finished_at": _utc(finished_at),
        "calls": erasure.calls,
        "transcripts": erasure.transcripts,
        "rejects": erasure.rejects,
        "customers": erasure.customers,
    }


def receipt_hash(org_id: UUID, erasure: Erasure, finished_at: datetime) -> str:
    """SHA-256 of the receipt as JSON with sorted keys and no blanks, in hex."""
    facts = receipt(org_id, erasure, finished_at)
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sought(ids: Sequence[str]) -> tuple[list[str], str]:
    """Those ids that are sought in what imports keep, and the pattern that finds them there, whole."""
    long = [one for one in ids if len(one) >= _SHORTEST]
    any_of_them = "|".join(map(_escaped, long))
    return long, f"(?<!{_WITHIN_IDS})(?:{any_of_them})(?!{_WITHIN_IDS})"


def names_in(text: str) -> set[str]:
    """Whatever in a text may be an id that is `sought`: words, values up to a blank, whole values."""
    found = {*_WORD.findall(text), *_UP_TO_BLANKS.split(text), *_VALUES.split(text)}
    names = {one_spelling(one.strip(" :\\")) for one in found}
    return {one for one in names if _SHORTEST <= len(one) <= MAX_ID_CHARS}


def _escaped(text: str) -> str:
    """For PostgreSQL's regular expressions, in which a backslash before a letter means something."""
    return "".join(f"\\{one}" if one.isascii() and not one.isalnum() else one for one in text)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
