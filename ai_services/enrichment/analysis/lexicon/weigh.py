"""Weighs a conversation: what the customer says, and what they answer to the agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from ai_services.enrichment.analysis.lexicon import answers
from ai_services.enrichment.analysis.lexicon.bearings import take_bearings
from ai_services.enrichment.analysis.lexicon.evidence import Evidence
from ai_services.enrichment.analysis.lexicon.load import Lexicon
from ai_services.enrichment.analysis.lexicon.reader import Reader

_LAST_WORDS: Final = 160  # of an agent's turn, in which its question stands


def weigh(
    text: str,
    cased: str,
    turn_starts: Sequence[int],
    lexicon: Lexicon,
    asked_before: Callable[[int], str],
) -> list[Evidence]:
    """Evidence in order of appearance.

    `text` is `lexicon.normalise(cased)`: the customer's turns joined by newlines, the i-th
    beginning at `turn_starts[i]`. `cased` tells what was typed in capitals. `asked_before(i)` is
    what the agent said just before that turn: heard only where the customer answers yes or no.
    """
    reader = Reader(text, cased, turn_starts, shouting=cased.isupper())
    reader.read_all(lexicon)
    found = reader.found
    take_bearings(found, reader.marks, text, turn_starts)
    heard: list[Evidence] = []
    for turn, start in enumerate(turn_starts):
        answer = answers.answer_at(text, start)
        if answer is not None and (question := asked_before(turn)):
            heard += answers.heard(_questioned(question[-_LAST_WORDS:], lexicon), answer)
    if heard:
        found = sorted([*heard, *found], key=lambda item: item.start)
    return found


@lru_cache(maxsize=4096)  # robots ask the same again and again
def _questioned(said: str, lexicon: Lexicon) -> tuple[Evidence, ...]:
    """What an agent's turn asks at its end; empty if it asks nothing."""
    reader = Reader(lexicon.normalise(said), said, [0], shouting=True, questioning=True)
    reader.read_all(lexicon)
    last = max((item.sentence for item in reader.found), default=-1)
    if last < reader.sentences - 1 - (said.rstrip()[-1:] in "?？。.!！"):
        return ()
    return tuple(item for item in reader.found if item.asked and item.sentence == last)
