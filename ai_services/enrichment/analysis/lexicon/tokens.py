"""Finds terms and punctuation in a text, left to right, the longest term at each place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from threading import Lock

from ai_services.enrichment.analysis.lexicon.trie import expression

_WORD = "[a-z0-9]+"


class Tokens:
    """`punctuation` is the source of an expression for what counts beside terms.

    Compiling takes most of a second for the terms that begin with a word, and as long again for all
    others: these wait until a text comes that may hold them.
    """

    def __init__(self, terms: Collection[str], punctuation: str) -> None:
        words = [term for term in terms if term.isascii() or re.match(_WORD, term)]
        self._latin = re.compile(_either(expression(words), punctuation))
        others = (term for term in terms if not re.match(_WORD, term))
        self._source = _either(f"({_WORD})", expression(others), punctuation)
        self._all: re.Pattern[str] | None = None
        self._compiling = Lock()

    def of(self, text: str) -> Iterator[re.Match[str]]:
        """Without overlaps. `text` is in lower case."""
        return self._latin.finditer(text) if text.isascii() else self._of_mixed(text)

    def _of_mixed(self, text: str) -> Iterator[re.Match[str]]:
        """Where a Latin word begins its terms are looked for, elsewhere the others."""
        pattern = self._compiled()
        matches = pattern.finditer(text)
        end = 0
        while (match := next(matches, None)) is not None:
            start, stop = match.span()
            if start < end:
                if stop > end:  # it begins in a term, and ends after it
                    matches = pattern.finditer(text, end)
                continue
            found = match if match.lastindex is None else self._latin.match(text, start)
            if found is not None:
                yield found
                end = found.end()

    def _compiled(self) -> re.Pattern[str]:
        if self._all is None:
            with self._compiling:  # one thread does it, others wait
                self._all = self._all or re.compile(self._source)
        return self._all


def _either(*sources: str) -> str:
    return "|".join(filter(None, sources))
