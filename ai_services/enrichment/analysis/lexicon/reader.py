"""Reads a text through the lexicon, left to right, and weighs what it finds.

A word's weight depends on its surroundings: a negator before it, an intensifier, the other
side of a "but", a question, a wish or a supposition around it. One pass, a bounded look-back at
each step, so the time is linear in the length of the text whatever the text is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ai_services.enrichment.analysis.lexicon import answers, names
from ai_services.enrichment.analysis.lexicon.evidence import RISKY, Evidence, Mark
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
_SCORNED: Final = -0.9  # 这就叫优质, "you call this good"
_ADDRESSED: Final = ("you",)
_UNSETTLED: Final = -1.5  # "not fixed"
_MISSED: Final = -0.5  # 差点就满意了
_COUNTER: Final = -0.5  # 如果满意的话我就不会打来了
_VERY: Final = 1.4  # 好 before another adjective
_SHOUTED: Final = 1.3
_EXCLAIMED: Final = 1.1
_IMPATIENCE: Final = -0.7  # "??" on its own
_TAKEN_BACK: Final = 0.6  # what a denial weakens of the same risk said before

_LATIN: Final = re.compile("[a-z]{2}")
_HAN: Final = re.compile("[\u4e00-\u9fff]")
# 好 before any other character is "very": 好嬲, 好无语, 好伤心.
_AFTER_GOOD: Final = frozenset(
    "的了啊呀吧吗嘛呢啦哦喔哈得过到也都才就而但可不没还和跟与及又哟哇咯喽噢嗯极么些于在是我你他她它这那"
    "只什所因虽请谢能会有要想给让用吃喝看玩听办打开说做走先再很非太真"
)
# Terms that may begin a list of what there isn't: "no problems or complaints".
_LISTS: Final = (
    "no ",
    "zero ",
    "without ",
    "never had ",
    "没问题",
    "没有问题",
    "没意见",
    "没有意见",
)
_LISTING_GAP: Final = 2


@dataclass(slots=True)
class Reader:
    """Where the reading stands: the clause, the sentence and what is still to take effect.

    `found` and `marks` are what it has come across so far, in order.
    """

    text: str
    cased: str  # the same as typed, for capitals
    turn_starts: Sequence[int]
    shouting: bool  # all in capitals: then capitals say nothing
    questioning: bool = False  # an agent's words, of which only what they ask matters
    found: list[Evidence] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    # Indexes into found: where the previous and this sentence began, what a "but" would
    # discount, and this clause.
    previous: int = 0
    sentence: int = 0
    segment: int = 0
    clause: int = 0
    clauses: int = 0  # counted from the start, as are sentences
    sentences: int = 0

    emphasis: float = 1.0
    asked: bool = False
    requested: bool = False
    supposed: bool = False
    conceded: bool = False
    scorned: bool = False
    wished: float = 1.0
    missed: bool = False

    negator: Term | None = None
    negator_end: int = 0
    negator_factor: float = 1.0
    softened: bool = False
    twice: bool = False
    factor: float = 1.0
    factor_end: int = 0
    factor_language: Language = "en"
    listed: Term | None = None  # the negator of a list: "no bugs or complaints"
    listed_end: int = 0
    list_comma: int = -9  # where a list may go on: "no bugs, complaints or delays"
    touched: bool = False  # whether this clause has anything that its end must undo
    wanting: Evidence | None = None  # 诚意, before 都没有 tells that there is none

    def read_all(self, lexicon: Lexicon) -> None:
        terms = lexicon.terms
        for match in lexicon.tokens(self.text):
            token = match[0]
            start, end = match.span()
            term = terms.get(token)
            if term is None:
                self.punctuation(token, start)
            elif term.kind != "plain":
                self.read(term, start, end)
            elif term.roles:
                self._mark(term, start, end)
        self.end_sentence()

    def read(self, term: Term, start: int, end: int) -> None:
        self.touched = True
        if term.roles:
            self._mark(term, start, end)
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
                self.supposed, self.negator, self.missed = False, None, False
                self.requested = True  # "I want to cancel?" is no question of how
            case "question":
                self.asked, self.requested = True, False
            case "asking":
                self.asked = self.asked or not self.requested
            case "request":
                self.requested, self.asked = True, False
            case _:
                self._read_rare(term, start, end)

    def _mark(self, term: Term, start: int, end: int) -> None:
        roles = term.roles
        if roles == _ADDRESSED and not self.marks:
            return  # "you" only tells from others, who are named before
        unsettled = "settled" in roles and self._negates(start)
        for role in roles:
            if role != "settled" or not unsettled:
                self.marks.append(Mark(role, start, end, self.clauses, self.sentences))
        if unsettled and term.kind == "plain":
            self._add(Evidence(term, start, end, _UNSETTLED * self.emphasis, 0.0, 0.0))

    def _read_rare(self, term: Term, start: int, end: int) -> None:
        match term.kind:
            case "scorn":
                self.scorned, self.requested, self.asked = True, True, False
            case "wish":
                self.wished, self.requested = term.factor, True
            case "almost":
                self.missed = True
            case "counterfactual":
                self._contradict()
            case "listing":
                if self.listed is not None and start - self.listed_end <= _LISTING_GAP:
                    self.negator, self.negator_end, self.negator_factor = self.listed, end, 1.0
            case "worth":
                self._want(term, start, end)
            case "absence":
                if self.wanting is not None and start - self.wanting.end <= _LISTING_GAP:
                    self._add(self.wanting)
                else:
                    self._open_negation(term, start, end)
                self.wanting = None

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
            item = self.found[-1]
            item.sentiment *= factor
            item.twisted = item.twisted or factor < 0

    def _contradict(self) -> None:
        """What would be otherwise if it were so: "if I were happy I wouldn't be calling"."""
        for item in self.found[self.sentence :]:
            if item.term.sentiment > 0 and not item.denied:
                item.sentiment, item.twisted = _COUNTER * item.term.sentiment, True
        self.supposed = self.asked = False

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
        if "smile" in term.roles and term.sentiment > 0 and not self._smiles_kindly():
            return
        if term.text == "好" and self._means_very(start, end):
            self.factor, self.factor_end, self.factor_language = _VERY, end, "zh"
            return
        if term.sentiment > 0 and names.is_name(self.cased, start, end, term):
            return
        if term.asserts:
            self.supposed, self.requested, self.missed = False, True, False
        item = Evidence(term, start, end, term.sentiment, term.complaint, term.churn)
        item.clause, item.sentence = self.clauses, self.sentences
        item.denied = term.kind == "retraction"
        item.decided = term.asserts
        item.sentiment *= self._intensity(start) if not self.softened else _SOFTENED
        item.sentiment *= self.emphasis * (_CONCEDED if self.conceded else 1.0)
        if term.sentiment and not self.shouting and end - start > 2 and self._capitals(start, end):
            item.sentiment *= _SHOUTED
        self._unsay_very(item)
        if start - self.list_comma <= 1 and self.listed is not None and item.complaint:
            self.negator, self.negator_end, self.negator_factor = self.listed, start, 1.0
        self._remember_list(term, start, end)
        if term.language != "marks":
            if self._negates(start):
                self._negate(item)
            self._twist(item)
        if self.supposed:
            item.asserted = False
            item.sentiment *= _SUPPOSED
        self.found.append(item)
        self._forget_modifiers()

    def _smiles_kindly(self) -> bool:
        """Among Chinese words a smile is cool and laughing tears are no joy; alone, who knows."""
        return _LATIN.search(self.text) is not None and _HAN.search(self.text) is None

    def _capitals(self, start: int, end: int) -> bool:
        return self.cased[start:end].isupper()

    def _means_very(self, start: int, end: int) -> bool:
        if self.factor_end == start > 0 or (self.negator and self.negator_end == start):
            return False
        following = self.text[end : end + 1]
        return following not in _AFTER_GOOD and _HAN.match(following) is not None

    def _unsay_very(self, item: Evidence) -> None:
        """服务好差: what was read as 服务好 was 好差."""
        if not self.found or item.sentiment >= 0:
            return
        before = self.found[-1]
        if before.end == item.start and before.sentiment > 0 and before.term.text[-1] == "好":
            before.sentiment = 0.0
            item.sentiment *= _VERY

    def _remember_list(self, term: Term, start: int, end: int) -> None:
        if self._negates(start):
            self.listed, self.listed_end = self.negator, end
        elif term.text.startswith(_LISTS):
            self.listed, self.listed_end = _NONE_OF_A_LIST, end
        else:
            self.listed = None

    def _twist(self, item: Evidence) -> None:
        if item.sentiment > 0:
            if self.scorned:
                item.sentiment *= _SCORNED
            elif self.wished != 1.0:
                item.sentiment *= self.wished
            elif self.missed:
                item.sentiment *= _MISSED
            else:
                return
            item.twisted = True
        elif self.scorned and item.complaint and item.risky and not item.decided:
            self._deny(item, risky=True)
            item.sentiment = 0.0
        elif self.missed and item.risky:
            item.asserted = False

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

    def _want(self, term: Term, start: int, end: int) -> None:
        """A word that counts only where it is missing: 诚意, "correct", "sense"."""
        factor = max(1.0, self.negator_factor) * self.emphasis
        item = Evidence(term, start, end, -term.sentiment * factor, 0.0, 0.0)
        if (self._negates(start) and not self.twice) or self.scorned:
            self._add(item)
        else:
            self.wanting = item

    def _add(self, item: Evidence) -> None:
        """Of what is missing: the negator before it is used up."""
        item.clause, item.sentence = self.clauses, self.sentences
        item.sentiment *= _SUPPOSED if self.supposed else 1.0
        self.listed, self.listed_end = self.negator, item.end
        self.found.append(item)
        self._forget_modifiers()

    # ------------------------------------------------------------ boundaries

    def punctuation(self, mark: str, start: int) -> None:
        first = mark[0]
        if first in "!?！？":
            self._end_loudly(mark, start)
        elif first in ",，、:：":
            self._end_part(first, start)
        else:
            self.end_sentence()

    def _end_part(self, mark: str, start: int) -> None:
        listed = self.listed
        follows = listed is not None and start - self.listed_end <= _LISTING_GAP
        if mark == "、" and follows:
            self.negator, self.negator_end, self.negator_factor = listed, start + 1, 1.0
            return
        self.end_clause()
        if mark in ",，" and follows:
            self.list_comma = start + 1

    def _end_loudly(self, mark: str, start: int) -> None:
        questions = mark.count("?") + mark.count("？")
        loud = len(mark) > 1
        if questions and (self.questioning or (not loud and not self.requested)):
            self.asked = True
        factor = _SHOUTED if loud else _EXCLAIMED if not questions else 1.0
        for item in self.found[self.sentence :]:
            item.sentiment *= factor
        self.end_clause()
        if questions and not self.questioning:
            self._hear_own_answer(start + len(mark))
        self.end_sentence()
        if questions > 1:
            self.found.append(Evidence(_QUESTION_MARKS, start, start + 2, _IMPATIENCE, 0.0, 0.0))
            self.sentence = self.segment = self.clause = len(self.found)

    def _hear_own_answer(self, position: int) -> None:
        """Of "Do I like it? No." the answer decides: what was asked counts as said."""
        questioned = [item for item in self.found[self.sentence :] if item.asked]
        if not questioned:
            return
        if (answer := answers.answer_at(self.text, position)) is not None:
            answers.settle_question(questioned, yes=answer.yes)

    def end_clause(self) -> None:
        self.clauses += 1
        if not self.touched and not self.asked:
            return
        self.touched = False
        if self.asked:
            for item in self.found[self.clause :]:
                if item.term.language == "marks":
                    continue
                item.sentiment *= _ASKED_LIKING if item.sentiment > 0 else _ASKED_DISLIKE
                item.asserted, item.asked = False, True
        self.clause = len(self.found)
        self.asked = self.requested = self.supposed = self.conceded = False
        self.scorned = self.missed = False
        self.wished = 1.0
        self.wanting = None
        self._forget_modifiers()

    def end_sentence(self) -> None:
        self.end_clause()
        self.previous = self.sentence
        self.sentence = self.segment = len(self.found)
        self.sentences += 1
        self.emphasis = 1.0
        self.listed = None


_QUESTION_MARKS: Final = Term("??", "evidence", "marks", sentiment=_IMPATIENCE)
_NONE_OF_A_LIST: Final = Term("no", "negator", "en", reach=2)
