"""When two requests are the same: their keys are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import orjson

# What changes nothing of the answer: how it is sent, and who it is for.
_NO_PART: Final = frozenset(
    {"stream", "stream_options", "metadata", "user", "safety_identifier", "store", "service_tier"}
    | {"prompt_cache_key"}
)
_OWN_PART: Final = ("messages", "input", "response_format")


def cache_key(org_id: UUID, model: str, document: Mapping[str, Any], prompt_version: str) -> str:
    """SHA-256, in hex, over the parts of a request, each with its length before it.

    `document` is the body. The order of the keys in its objects is no part of it, that of lists is;
    what makes no other answer (stream, metadata, user …) is none either. `model` is our name.
    """
    parameters = {
        name: value
        for name, value in document.items()
        if name not in _NO_PART and name not in _OWN_PART and name != "model"
    }
    own = (_normal(document.get(name)) for name in _OWN_PART)
    parts = [org_id.bytes, model.encode(), *own, _normal(parameters), prompt_version.encode()]
    return _digest(parts)


def _normal(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()
