"""Whose matter is it, and is it over? Takes what was found in the light of the words around it.

A complaint that was settled last month, that a neighbour made, or that another company has to
answer is none that this call threatens; a "great" beside a new outage is no praise.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby, pairwise
from typing import Final

from ai_services.enrichment.analysis.lexicon.evidence import Evidence, Mark

_NEAR: Final = {"en": 34, "zh": 12, "marks": 0}  # characters between whoever did it and the deed
_OBJECT: Final = {"en": 28, "zh": 9, "marks": 0}  # characters between a verb and its object
_MOST: Final = 64  # marks of a sentence or a turn, praises of a call
_IRONY: Final = -0.6
_IRONIC_EVENT: Final = -1.0
_EVENT: Final = -0.9  # what weighs so much is a misfortune
_OPINION: Final = 0.3  # what others think
_GONE: Final = -0.7  # glad to leave
_GRAVE: Final = 0.7
_LEAVING: Final = 0.7
_SO_THAT: Final = re.compile(
    r"\s(?:that|to|i|i'm|we|because|about|now|finally|be|am|are)?\b|[^\w\s]?"
)
_NO_SUBJECT: Final = (
    "比",
    "跟",
    "和",
    "像",
    "如",
    "到",
    "去",
    "than ",
    "like ",
    "to ",
    "with ",
    "from ",
)
_THINKS: Final = re.compile(
    r"\b(?:think|thinks|say|says|said|believe|claim|claims|like)\b|说|觉得|认为|喜欢|夸"
)
_FEARS: Final = re.compile(
    "worr|afraid|confus|scared|nervous|anxious|sad|担心|怕|急|累|疑|以为|难过"
)


def take_bearings(
    found: list[Evidence], marks: Sequence[Mark], text: str, turn_starts: Sequence[int]
) -> None:
    """Changes the weights in `found` as `marks` demand."""
    if not found:
        return
    _go_gladly(found, text)
    if not marks:
        return
    roles = {mark.role for mark in marks}
    if "smile" in roles:
        _mute_smiles(found)
    if "harmless" in roles and any(item.churn for item in found):
        _excuse_objects(found, [m for m in marks if m.role == "harmless"])
    if roles & {"elsewhere", "others"}:
        _leave_to_others(found, marks, text)
    if roles & {"past", "settled", "handled"}:
        turns: dict[int, list[Mark]] = {}
        for mark in marks:
            turns.setdefault(bisect_right(turn_starts, mark.start), []).append(mark)
        for turn, items in groupby(found, key=lambda item: bisect_right(turn_starts, item.start)):
            _close_settled(list(items), turns.get(turn, [])[:_MOST])
    if "message" in roles:
        _pass_on_praise(found)
    if "gush" in roles:
        _hear_irony(found, marks, text)


def _mute_smiles(found: Sequence[Evidence]) -> None:
    """A smile beside something bad is a bitter one."""
    if any(item.sentiment <= -1.0 for item in found):
        for item in found:
            if "smile" in item.term.roles:
                item.sentiment = 0.0


def _by_sentence(marks: Iterable[Mark]) -> dict[int, list[Mark]]:
    """At most so many of a sentence: nobody says more, and time stays linear."""
    sentences: dict[int, list[Mark]] = {}
    for mark in marks:
        here = sentences.setdefault(mark.sentence, [])
        if len(here) < _MOST:
            here.append(mark)
    return sentences


def _excuse_objects(found: Sequence[Evidence], marks: Sequence[Mark]) -> None:
    """取消闹钟, "terminate the call": what is ended is not the contract."""
    sentences = _by_sentence(marks)
    for item in found:
        if not item.churn or item.denied or item.term.language == "marks":
            continue
        reach = _OBJECT[item.term.language]
        for mark in sentences.get(item.sentence, ()):
            after = 0 <= mark.start - item.end <= reach
            before = 0 <= item.start - mark.end <= (8 if item.term.language == "zh" else 12)
            within = item.start <= mark.start and mark.end <= item.end
            if mark.clause == item.clause and (after or before or within):
                item.churn = 0.0


# ---------------------------------------------------------------- others


def _leave_to_others(found: Sequence[Evidence], marks: Sequence[Mark], text: str) -> None:
    blamed: set[int] = set()  # sentences that find fault with a rival
    thinkers = _by_sentence(mark for mark in marks if mark.role == "others")
    whose = ("elsewhere", "others", "you")
    sentences = _by_sentence(mark for mark in marks if mark.role in whose)
    for item in found:
        if item.term.language == "marks" or item.decided:
            continue
        if item.sentiment > 0 and _is_opinion(item, thinkers.get(item.sentence, ()), text):
            item.sentiment *= _OPINION
            continue
        subject = _subject(item, sentences.get(item.sentence, ()), text)
        if subject is None:
            continue
        if subject.role == "elsewhere":
            if item.sentiment < 0 or item.complaint:
                item.sentiment = item.complaint = 0.0
                if not item.term.churn:
                    item.churn = 0.0
                blamed.add(item.sentence)
        elif item.complaint and not item.denied and not item.asked:
            item.complaint = item.sentiment = 0.0
        elif item.churn and not item.denied:
            item.churn = 0.0
    _forgive_rivals(found, blamed)


def _is_opinion(item: Evidence, thinkers: Sequence[Mark], text: str) -> bool:
    return any(
        mark.clause == item.clause and _THINKS.search(text, mark.end, item.start)
        for mark in thinkers
        if mark.end <= item.start
    )


def _subject(item: Evidence, marks: Sequence[Mark], text: str) -> Mark | None:
    """Whose doing or whose fault it is: the nearest of those named before, or an object after."""
    reach = _NEAR[item.term.language]
    nearest: Mark | None = None
    for mark in marks:
        if mark.start >= item.end:
            if (
                mark.role == "elsewhere"
                and item.term.complaint
                and mark.clause == item.clause
                and mark.start - item.end <= _OBJECT[item.term.language]
            ):
                return mark
            if mark.clause > item.clause + 1:
                break
            continue
        if mark.role in ("elsewhere", "others", "you") and mark.sentence == item.sentence:
            if mark.role == "others" and (
                mark.clause != item.clause or item.start - mark.end > reach
            ):
                continue
            if mark.role == "elsewhere" and text[max(0, mark.start - 5) : mark.start].endswith(
                _NO_SUBJECT
            ):
                continue
            nearest = mark
    return nearest if nearest is not None and nearest.role != "you" else None


def _forgive_rivals(found: Sequence[Evidence], blamed: Collection[int]) -> None:
    """Who finds fault with a rival is not about to leave for it."""
    for item in found:
        if item.sentence in blamed and "elsewhere" in item.term.roles:
            item.churn = 0.0


# ---------------------------------------------------------------- past and settled


def _close_settled(items: Sequence[Evidence], marks: Sequence[Mark]) -> None:
    """Of one turn: a complaint of the past weighs less, and one that was settled nothing."""
    past = [mark for mark in marks if mark.role == "past"]
    solved = _is_settled(items, marks)
    for item in items:
        if not item.risky or item.denied or item.asked:
            continue
        of_the_past = _in_the_past(item, past)
        if item.decided and not of_the_past:
            continue
        if solved and (of_the_past or (item.complaint and _is_word(item))):
            item.complaint = item.churn = 0.0
            item.sentiment = max(item.sentiment, 0.0)
        elif of_the_past:
            item.asserted = False
    if solved and past:
        for item in items:
            if item.sentiment < 0 and not item.risky and _in_the_past(item, past):
                item.sentiment = 0.0


def _is_settled(items: Sequence[Evidence], marks: Sequence[Mark]) -> bool:
    if any(mark.role == "unsettled" for mark in marks):
        return False
    balance = sum(item.sentiment for item in items if not item.risky and not item.asked)
    if any(mark.role == "settled" for mark in marks):
        return balance > -1.5
    if any(mark.role in ("handled", "past") for mark in marks):
        return balance >= 0.7
    return False


def _in_the_past(item: Evidence, past: Sequence[Mark]) -> bool:
    return any(
        mark.sentence == item.sentence
        and (mark.start <= item.start or (mark.clause == item.clause and mark.end >= item.start))
        and mark.clause >= item.clause - 1
        for mark in past
    )


def _is_word(item: Evidence) -> bool:
    """Whether it speaks of complaining as such, not of a regulator or a lawyer."""
    return any(word in item.term.text for word in ("投诉", "客诉", "complain", "grievance"))


# ---------------------------------------------------------------- praise of a person, joy of leaving


def _pass_on_praise(found: Sequence[Evidence]) -> None:
    """Whoever is to be told of praise is no threat."""
    liking = any(item.sentiment >= 1.0 for item in found)
    dislike = any(item.sentiment <= -1.0 for item in found)
    if liking and not dislike:
        for item in found:
            if 0 < item.term.complaint < _GRAVE and not _is_word(item):
                item.complaint = 0.0
                item.sentiment = max(item.sentiment, 0.0)


def _go_gladly(found: Sequence[Evidence], text: str) -> None:
    """Who is happy to be no longer a customer likes nothing."""
    for glad, leaving in pairwise(found):
        if (
            leaving.churn >= _LEAVING
            and glad.sentiment > 0
            and not leaving.denied
            and leaving.clause == glad.clause
            and _SO_THAT.match(text, glad.end, leaving.start)
        ):
            glad.sentiment *= _GONE
            glad.twisted = True


# ---------------------------------------------------------------- irony


def _hear_irony(found: list[Evidence], marks: Sequence[Mark], text: str) -> None:
    """Praise that stands alone beside a new misfortune: 太好了，又要等三天."""
    praises = [
        item
        for item in found
        if item.sentiment > 0 and "gush" in item.term.roles and not item.asked
    ]
    if not praises:
        return
    woes = [mark for mark in marks if mark.role in ("woe", "blame")]
    woes += [
        Mark("event", item.start, item.end, item.clause, item.sentence)
        for item in found
        if item.sentiment <= _EVENT and not item.denied and not _FEARS.search(item.term.text)
    ]
    sentences = _by_sentence(woes)
    for item in praises[:_MOST] if woes else ():
        near = (*sentences.get(item.sentence, ()), *sentences.get(item.sentence + 1, ()))
        woe = next((mark for mark in near if _spoils(mark, item, text)), None)
        if woe is None or _liked_otherwise(found, item):
            continue
        item.sentiment, item.twisted = _IRONY * max(item.sentiment, 1.5), True
        if not any(
            other.sentiment < 0 and _close(other, woe) for other in found if other is not item
        ):
            found_event = Evidence(item.term, item.start, item.end, _IRONIC_EVENT, 0.0, 0.0)
            found_event.twisted = True
            found_event.clause, found_event.sentence = item.clause, item.sentence
            found.insert(found.index(item) + 1, found_event)
            return


def _spoils(woe: Mark, praise: Evidence, text: str) -> bool:
    if woe.start < praise.end or woe.start - praise.end > 60:
        return False
    courteous = praise.term.kind == "polite"
    if courteous and woe.role != "blame":
        return False
    if not 0 <= woe.sentence - praise.sentence <= (woe.role != "event"):
        return False
    between = text[praise.end : woe.start]
    if "\n" in between or any(word in between for word in (" but ", "但", "不过", "就是")):
        return False
    if woe.clause == praise.clause:
        return woe.role == "blame"
    return woe.clause - praise.clause <= 2


def _liked_otherwise(found: Sequence[Evidence], praise: Evidence) -> bool:
    return any(
        item is not praise
        and "gush" not in item.term.roles
        and item.sentiment >= 1.0
        and item.term.kind == "evidence"
        and abs(item.sentence - praise.sentence) <= 1
        and item.start > praise.end
        for item in found
    )


def _close(item: Evidence, woe: Mark) -> bool:
    return item.sentence == woe.sentence and abs(item.clause - woe.clause) <= 1
