"""Transcripts between marks that nothing in them can close.

A mark begins with `<<<` and has a word made with a secret from all that the request holds: whoever
speaks in a transcript can't know it, and writes no `<` into a request, as that is escaped there. The
same transcripts get the same marks, so that a request that is repeated is the same to the byte.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from ai_services.enrichment.analysis.chain.transcript import Item, Said

_LETTERS: Final = bytes.maketrans(
    b"0123456789abcdef", b"bcdfghjklmnpqrst"
)  # spell no words or numbers
_WORD: Final = 24
_ID: Final = 8


@dataclass(frozen=True, slots=True)
class Fenced:
    """`text` holds the transcripts; `ids` names each, in their order."""

    word: str
    ids: tuple[str, ...]
    text: str


def fence_key(data_key: bytes) -> bytes:
    """A key of its own: the data key is never used for two purposes."""
    return hashlib.sha256(b"looma analysis fence\0" + data_key).digest()


def fenced(key: bytes, org_id: UUID, items: Sequence[Item]) -> Fenced:
    whole = org_id.bytes + b"".join(item.digest for item in items)
    word = _secret(key, b"word" + whole)[:_WORD]
    ids = tuple(_secret(key, b"id%d" % number + whole)[:_ID] for number in range(len(items)))
    blocks = [
        f"<<<{word} id={name}>>>\n{_lines(item.said)}\n<<<{word} end>>>"
        for name, item in zip(ids, items, strict=True)
    ]
    return Fenced(word, ids, "\n".join(blocks))


def _lines(said: Sequence[Said]) -> str:
    return "\n".join(
        orjson.dumps({"n": one.number, "by": one.role, "said": one.text})
        .decode()
        .replace("<", "\\u003c")
        for one in said
    )


def _secret(key: bytes, what: bytes) -> str:
    digest = hmac.new(key, what, hashlib.sha256).hexdigest()
    return digest.encode().translate(_LETTERS).decode()
