"""Reads a text through the lexicon, left to right, and weighs what it finds.

A word's weight depends on its surroundings: a negator before it, an intensifier, the other
side of a "but", a question or a supposition around it. One pass, a bounded look-back at each
step, so the time is linear in the length of the text whatever the text is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ai_services.enrichment.analysis.lexicon.load import Language, Lexicon, Term

_REACH: Final[dict[Language, int]] = {"en": 5, "zh": 6, "marks": 0}
_INTENSIFIER_REACH: Final[dict[Language, int]] = {"en": 2, "zh": 2, "marks": 0}
_WIDEST_GAP: Final = 48  # characters; beyond it nothing modifies anything

_UNLIKED: Final = -0.8  # "not good" is nearly as bad as "good" is good
_UNDISLIKED: Final = -0.3  # "not bad" is only mild praise
_TWICE_NEGATED: Final = 0.5  # 没有不好
_SOFTENED: Final = 0.85  # "not very good"
_BEFORE_CONTRAST: Final = 0.5
_AFTER_CONTRAST: Final = 1.3
_CONCEDED: Final = 0.5
_ASKED_LIKING: Final = 0.3  # "is it good?" says little
_ASKED_DISLIKE: Final = 0.6
_SUPPOSED: Final = 0.4
_SHOUTED: Final = 1.3
_EXCLAIMED: Final = 1.1
_IMPATIENCE: Final = -0.7  # "??" on its own
RISKY: Final = 0.25  # below it a term is a bad word, not a threat that could be denied
_TAKEN_BACK: Final = 0.6  # what a denial weakens of the same risk said before


@dataclass(slots=True)
class Evidence:
    """One thing found in a text, `text[start:end]`, and what it weighs where it stands.

    `asserted` is false for questions and suppositions. `denied` means that the risk is said not
    to be there, or taken back ("I don't want to cancel", "I'll stay"): then `complaint` and
    `churn` are the shares by which it lessens what was said before.
    """

    term: Term
    start: int
    end: int
    sentiment: float
    complaint: float
    churn: float
    asserted: bool = True
    denied: bool = False


def weigh(text: str, original: str, turn_starts: Sequence[int], lexicon: Lexicon) -> list[Evidence]:
    """Evidence in order of appearance.

    `text` is `lexicon.normalise(original)`: the customer's turns joined by newlines, the i-th
    beginning at `turn_starts[i]`. `original` tells what was typed in capitals.
    """
    reader = _Reader(text, original, turn_starts, shouting=original.isupper())
    terms = lexicon.terms
    for match in lexicon.tokens(text):
        term = terms.get(match.group())
        if term is None:
            reader.punctuation(match.group(), match.start())
        else:
            reader.read(term, match.start(), match.end())
    reader.end_sentence()
    return reader.found


@dataclass(slots=True)
class _Reader:
    """Where the reading stands: the clause, the sentence and what is still to take effect."""

    text: str
    original: str
    turn_starts: Sequence[int]
    shouting: bool  # all in capitals: then capitals say nothing
    found: list[Evidence] = field(default_factory=list)

    # Indexes into found: where the previous and this sentence began, what a "but" would
    # discount, and this clause.
    previous: int = 0
    sentence: int = 0
    segment: int = 0
    clause: int = 0

    emphasis: float = 1.0
    asked: bool = False
    requested: bool = False
    supposed: bool = False
    conceded: bool = False

    negator: Term | None = None
    negator_end: int = 0
    negator_factor: float = 1.0
    softened: bool = False
    twice: bool = False
    factor: float = 1.0
    factor_end: int = 0
    factor_language: Language = "en"

    def read(self, term: Term, start: int, end: int) -> None:
        match term.kind:
            case "evidence" | "polite" | "retraction" | "threat":
                self._find(term, start, end)
            case "negator" | "inability":
                self._open_negation(term, start, end)
            case "intensifier":
                self._intensify(term, start, end)
            case "amplifier":
                self._amplify(start, term.factor)
            case "undo":
                self._amplify(start, _UNLIKED)
            case "barrier":
                if start > self.negator_end:  # in 别给我注销 it belongs to the negation
                    self.negator = None
                else:
                    self.negator_end = end
            case "contrast":
                self._turn_round(start)
            case "concession":
                self.conceded = True
            case "condition":
                self.supposed = True
            case "consequence":
                self.supposed, self.negator = False, None
                self.requested = True  # "I want to cancel?" is no question of how
            case "question":
                self.asked, self.requested = True, False
            case "asking":
                self.asked = self.asked or not self.requested
            case "request":
                self.requested, self.asked = True, False
            case "plain":
                pass  # a harmless word that looks like another

    def _forget_modifiers(self) -> None:
        self.negator = None
        self.negator_factor = self.factor = 1.0
        self.softened = self.twice = False

    def _gap(self, begin: int, end: int, language: Language) -> int:
        """Distance in the language's own measure: words or characters."""
        if end - begin > _WIDEST_GAP:
            return _WIDEST_GAP
        return self.text.count(" ", begin, end) if language == "en" else end - begin

    def _negates(self, start: int) -> bool:
        if self.negator is None:
            return False
        language = self.negator.language
        return self._gap(self.negator_end, start, language) <= (
            self.negator.reach or _REACH[language]
        )

    def _intensity(self, start: int) -> float:
        if self.factor == 1.0:
            return 1.0
        gap = self._gap(self.factor_end, start, self.factor_language)
        return self.factor if gap <= _INTENSIFIER_REACH[self.factor_language] else 1.0

    # ------------------------------------------------------------ modifiers

    def _open_negation(self, term: Term, start: int, end: int) -> None:
        earlier = self.negator if self._negates(start) else None
        if earlier is not None and self.twice:
            earlier = None
        # English doubles a negation by accident ("no I don't want"), Chinese on purpose.
        self.twice = earlier is not None and term.language == "zh" and earlier.text != term.text
        self.negator, self.negator_end = term, end
        self.negator_factor = term.factor * self._intensity(start)
        self.factor, self.softened = 1.0, False

    def _intensify(self, term: Term, start: int, end: int) -> None:
        self.softened = self._negates(start)
        self.factor = max(term.factor, self._intensity(start)) if term.factor > 1 else term.factor
        self.factor_end, self.factor_language = end, term.language

    def _amplify(self, start: int, factor: float) -> None:
        """Of a word that comes after what it modifies."""
        if len(self.found) > self.clause and start - self.found[-1].end <= 2:
            self.found[-1].sentiment *= factor

    def _turn_round(self, start: int) -> None:
        first = self.segment
        if first == len(self.found) and self.sentence == first and self._same_turn(start):
            first = self.previous  # "The food was fine. But …"
        for item in self.found[first:]:
            item.sentiment *= _BEFORE_CONTRAST
        self.end_clause()
        self.segment = self.previous = len(self.found)
        self.emphasis = _AFTER_CONTRAST

    def _same_turn(self, start: int) -> bool:
        if not self.previous < len(self.found):
            return False
        starts = self.turn_starts
        return bisect_right(starts, self.found[-1].start) == bisect_right(starts, start)

    # ------------------------------------------------------------ evidence

    def _find(self, term: Term, start: int, end: int) -> None:
        if term.asserts:
            self.supposed, self.requested = False, True
        item = Evidence(term, start, end, term.sentiment, term.complaint, term.churn)
        item.denied = term.kind == "retraction"
        item.sentiment *= self._intensity(start) if not self.softened else _SOFTENED
        item.sentiment *= self.emphasis * (_CONCEDED if self.conceded else 1.0)
        if term.sentiment and not self.shouting and end - start > 2 and self._capitals(start, end):
            item.sentiment *= _SHOUTED
        if self._negates(start):
            self._negate(item)
        if self.supposed:
            item.asserted = False
            item.sentiment *= _SUPPOSED
        self.found.append(item)
        self._forget_modifiers()

    def _capitals(self, start: int, end: int) -> bool:
        return self.original[start:end].isupper()

    def _negate(self, item: Evidence) -> None:
        risky = max(item.complaint, item.churn) >= RISKY
        if self.twice:
            item.sentiment *= _TWICE_NEGATED
        elif risky and self.negator is not None and self.negator.kind == "inability":
            return  # "I can't cancel" still wants to
        elif item.sentiment > 0:
            item.sentiment *= _UNLIKED * self.negator_factor
        else:
            item.sentiment *= 0.0 if risky else _UNDISLIKED
        if not self.twice:
            self._deny(item, risky=risky)

    def _deny(self, item: Evidence, *, risky: bool) -> None:
        takes_back = risky and not item.denied and not self.supposed
        item.denied = takes_back
        item.complaint = _TAKEN_BACK if takes_back and item.complaint else 0.0
        item.churn = _TAKEN_BACK if takes_back and item.churn else 0.0

    # ------------------------------------------------------------ boundaries

    def punctuation(self, mark: str, start: int) -> None:
        first = mark[0]
        if first in "!?！？":
            self._end_loudly(mark, start)
        elif first in ",，、:：":
            self.end_clause()
        else:
            self.end_sentence()

    def _end_loudly(self, mark: str, start: int) -> None:
        questions = mark.count("?") + mark.count("？")
        loud = len(mark) > 1
        if questions and not loud and not self.requested:
            self.asked = True
        factor = _SHOUTED if loud else _EXCLAIMED if not questions else 1.0
        for item in self.found[self.sentence :]:
            item.sentiment *= factor
        self.end_sentence()
        if questions > 1:
            self.found.append(Evidence(_QUESTION_MARKS, start, start + 2, _IMPATIENCE, 0.0, 0.0))
            self.sentence = self.segment = self.clause = len(self.found)

    def end_clause(self) -> None:
        if self.asked:
            for item in self.found[self.clause :]:
                item.sentiment *= _ASKED_LIKING if item.sentiment > 0 else _ASKED_DISLIKE
                item.asserted = False
        self.clause = len(self.found)
        self.asked = self.requested = self.supposed = self.conceded = False
        self._forget_modifiers()

    def end_sentence(self) -> None:
        self.end_clause()
        self.previous = self.sentence
        self.sentence = self.segment = len(self.found)
        self.emphasis = 1.0


_QUESTION_MARKS: Final = Term("??", "evidence", "marks", sentiment=_IMPATIENCE)
