"""What the headers of a request to a model say: its purpose, its prompt's version, what may be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ai_services.llm.asking.completions import Wishes
from shared.errors import InvalidInput

_PURPOSE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DEFAULT_PURPOSE: Final = "api"
_PROMPT_VERSION: Final = re.compile(r"[!-~]{0,100}")
_SECONDS: Final = re.compile(r"[0-9]{1,8}")
_LONGEST_CACHE_S: Final = 31 * 86_400


def purpose_of(headers: Mapping[str, str]) -> str:
    """What X-Purpose says; InvalidInput for what is no name."""
    purpose = headers.get("x-purpose", _DEFAULT_PURPOSE)
    if not _PURPOSE.fullmatch(purpose):
        raise InvalidInput.of(
            "X-Purpose",
            "is no name of a purpose",
            "send 1 to 64 lower-case letters, digits, dots, dashes or underscores",
        )
    return purpose


def prompt_version_of(headers: Mapping[str, str]) -> str:
    """What X-Prompt-Version says; InvalidInput."""
    version = headers.get("x-prompt-version", "")
    if not _PROMPT_VERSION.fullmatch(version):
        raise InvalidInput.of(
            "X-Prompt-Version", "is no version of a prompt", "send 100 visible characters at most"
        )
    return version


def wishes_of(headers: Mapping[str, str], size: int) -> Wishes:
    """What X-Cache-Seconds says of a body of `size` bytes; InvalidInput."""
    seconds = headers.get("x-cache-seconds")
    if seconds is None:
        return Wishes(size)
    if not _SECONDS.fullmatch(seconds) or int(seconds) > _LONGEST_CACHE_S:
        raise InvalidInput.of(
            "X-Cache-Seconds",
            "is no number of seconds",
            f"send a whole number up to {_LONGEST_CACHE_S}; 0: don't keep the answer",
        )
    return Wishes(size, float(seconds))
