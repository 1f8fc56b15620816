"""What the customer said in a call, cleaned for reading, and what it weighs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from ai_services.enrichment.analysis.lexicon.clean import clean
from ai_services.enrichment.analysis.lexicon.evidence import Evidence
from ai_services.enrichment.analysis.lexicon.letdowns import lets_down
from ai_services.enrichment.analysis.lexicon.load import Lexicon, is_japanese
from ai_services.enrichment.analysis.lexicon.weigh import weigh


class Spoken(Protocol):
    """A turn of a transcript."""

    @property
    def role(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Speech:
    """The customer's turns joined by newlines, as written.

    The i-th begins at `starts[i]` and is turn `numbers[i]` of the transcript.
    """

    original: str
    starts: Sequence[int]
    numbers: Sequence[int]
    familiar: bool  # whether anything of a known language was said
    evidence: Sequence[Evidence]  # in order; offsets into `original`
    letdowns: int = 0  # turns of the agent's that tell of a failure

    @classmethod
    def of(cls, turns: Sequence[Spoken], lexicon: Lexicon) -> Speech:
        numbers = [number for number, turn in enumerate(turns) if turn.role == "customer"]
        said = [turns[number].text for number in numbers]
        starts = [0, *accumulate(len(text) + 1 for text in said)][: len(said)]
        original = "\n".join(said)
        if not original.isascii() and any(map(is_japanese, said)):
            said = ["\0" * len(text) if is_japanese(text) else text for text in said]
        cleaned = clean(lexicon.normalise("\n".join(said)), original, starts, lexicon)
        places = [cleaned.place(start) for start in starts] if cleaned.is_changed else starts

        def asked_before(turn: int) -> str:
            before = turns[numbers[turn] - 1] if numbers[turn] else None
            return before.text if before is not None and before.role == "agent" else ""

        found = weigh(cleaned.text, cleaned.cased, places, lexicon, asked_before)
        if cleaned.is_changed:
            for item in found:
                item.start, item.end = cleaned.origin(item.start), cleaned.origin(item.end)
        familiar = bool(found) or lexicon.is_familiar(cleaned.text)
        letdowns = sum(turn.role == "agent" and lets_down(turn.text) for turn in turns)
        return cls(original, starts, numbers, familiar, found, letdowns)

    def turn_of(self, offset: int) -> int:
        """Index of the customer's turn that holds the character at `offset`."""
        return bisect_right(self.starts, offset) - 1

    def end_of(self, turn: int) -> int:
        return self.starts[turn + 1] - 1 if turn + 1 < len(self.starts) else len(self.original)
