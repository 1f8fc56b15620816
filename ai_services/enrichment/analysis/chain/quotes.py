"""Whether a quote stands in a transcript, and where: a model's quotes are believed no further."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from ai_services.enrichment.analysis.local import Quote, Turn

_SHORTEST: Final = 2  # characters: a single one stands in every transcript
_LONGEST: Final = 300


def find_quote(quote: str, turns: Sequence[Turn]) -> Quote | None:
    """The turn and its very words; None if nobody said that.

    Blanks, case and full-width forms make no difference. The customer's turns are looked through
    first.
    """
    wanted, _ = _loosened(quote)
    if len(wanted) < _SHORTEST or len(quote) > _LONGEST:
        return None
    for numbers in _customer_first(turns):
        text = turns[numbers].text
        if quote in text and quote == quote.strip():
            return Quote(numbers, quote)
        loose, places = _loosened(text)
        at = loose.find(wanted)
        if at >= 0:
            return Quote(numbers, text[places[at] : places[at + len(wanted) - 1] + 1])
    return None


def verified(quotes: Sequence[str], turns: Sequence[Turn], most: int) -> tuple[list[Quote], int]:
    """Those that stand in the transcript, each once, `most` at most; and how many don't."""
    found = [find_quote(quote, turns) for quote in quotes]
    standing = list(dict.fromkeys(one for one in found if one is not None))
    return standing[:most], found.count(None)


def _customer_first(turns: Sequence[Turn]) -> list[int]:
    return sorted(range(len(turns)), key=lambda number: turns[number].role != "customer")


def _loosened(text: str) -> tuple[str, list[int]]:
    """Without blanks and what is not seen, folded; and the place in `text` of each character."""
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if character.isascii():
            folded = character.lower() if character > " " and character != "\x7f" else ""
        else:
            folded = "".join(
                one
                for one in unicodedata.normalize("NFKC", character).casefold()
                if not one.isspace() and unicodedata.category(one)[0] != "C"
            )
        characters.append(folded)
        places += [place] * len(folded)
    return "".join(characters), places
