"""Whether the agent's side kept to the script: what must be said, and what must not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.analysis.local import Turn

_NO_PART: Final = re.compile(r"[\s\W_]+")  # blanks and marks: transcripts put them where they like


@dataclass(frozen=True, slots=True)
class Script:
    """Phrases; `must_say` may have alternatives in one, with `|` between."""

    must_say: tuple[str, ...] = ()
    must_not_say: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adherence:
    """`missing` of what must be said, `forbidden` of what must not."""

    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


def adherence(turns: Sequence[Turn], script: Script) -> Adherence:
    """By the words of the agent's turns, whatever their case, width, blanks and marks."""
    if not script.must_say and not script.must_not_say:
        return Adherence()
    said = "\n".join(plain(turn.text) for turn in turns if turn.role == "agent")
    missing = [phrase for phrase in script.must_say if not _is_said(phrase, said)]
    forbidden = [phrase for phrase in script.must_not_say if _is_said(phrase, said)]
    return Adherence(tuple(missing), tuple(forbidden))


def plain(text: str) -> str:
    return _NO_PART.sub("", unicodedata.normalize("NFKC", text).casefold())


def _is_said(phrase: str, said: str) -> bool:
    return any(words in said for words in map(plain, phrase.split("|")) if words)
