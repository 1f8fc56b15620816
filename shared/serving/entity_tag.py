"""Entity tags (RFC 9110 §8.8.3): how a client asks whether what it has is still right.

Tags are over the data of an answer only. The envelope around them has a request's id, so that two
answers with the same data differ in some bytes: the tags are weak ones.
"""

from __future__ import annotations

import base64
import hashlib
import re

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_ONE = re.compile(r'(?:W/)?"[!#-~]*"')


def weak_tag(data: bytes) -> str:
    """The same for the same bytes, on every machine."""
    digest = hashlib.blake2b(data, digest_size=15).digest()
    return f'W/"{base64.urlsafe_b64encode(digest).decode()}"'


def is_tag(text: str) -> bool:
    """Whether `text` is one entity tag as it is written in ETag."""
    return _ONE.fullmatch(text) is not None


def matches(if_none_match: str, tag: str) -> bool:
    """Whether a client with this If-None-Match ('' without one) has what `tag` stands for.

    Weak comparison, as RFC 9110 §13.1.2 has it; several lines of the header are joined by commas.
    """
    if not if_none_match:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)
