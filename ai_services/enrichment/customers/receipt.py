"""What can be shown of an erasure for good: when, by whom, how much, and nothing of whom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from ai_services.enrichment.customers.erasure_store import Erasure

_SHORTEST: Final = 4  # an id of fewer characters stands in rows that are not about it
_WITHIN_IDS: Final = "[[:alnum:]_-]"


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


def sought(ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those ids that are sought in rejected rows, and the patterns that find each of them whole."""
    long = [one for one in ids if len(one) >= _SHORTEST]
    return long, [f"(?<!{_WITHIN_IDS}){_escaped(one)}(?!{_WITHIN_IDS})" for one in long]


def _escaped(text: str) -> str:
    """For PostgreSQL's regular expressions, in which a backslash before a letter means something."""
    return "".join(f"\\{one}" if one.isascii() and not one.isalnum() else one for one in text)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
