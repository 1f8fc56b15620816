"""Says in words what a verdict goes by, and quotes it.

A quotation stands in the transcript as it is quoted. It ends at the clause, and never shows a
number or an address that identifies a person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ai_services.enrichment.analysis.lexicon.evidence import Evidence
from ai_services.enrichment.analysis.speech import Speech

Label = Literal["positive", "negative", "complaint", "churn"]

REASON_LENGTH: Final = 300
_ASKED: Final = 0.7  # a question or a supposition weighs this much of an assertion
_QUOTES: Final = 3
_QUOTE_SIDE: Final = 30  # characters quoted on either side of a term
_QUOTE_WINDOW: Final = 64  # wider, so that a number cut by the window is never quoted

# Where a quotation stops: clauses, quotation marks, what must not reach a terminal or a
# database (controls, bidirectional overrides, lone surrogates) and what identifies a person.
_QUOTE_STOP: Final = re.compile(
    r"[.,;:!?。，、；：！？…\"“”\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    r"|\+?\d(?:[ -]?\d){6,}|\S*@\S*"
)

_NAMES: Final[dict[str, dict[Label, str]]] = {
    "en": {
        "positive": "positive",
        "negative": "negative",
        "complaint": "complaint",
        "churn": "churn",
    },
    "zh": {"positive": "正面", "negative": "负面", "complaint": "投诉", "churn": "流失"},
}


class Shown(NamedTuple):
    """A piece of evidence as it is shown: `text` stands in the customer's turn `turn`."""

    label: Label
    item: Evidence
    turn: int
    text: str


def show(speech: Speech, labels: Sequence[Label]) -> Sequence[Shown]:
    """The strongest evidence for each label, or the strongest there is; empty if there is none."""
    found = speech.evidence
    chosen = _strongest(found, labels) or _strongest(found, ("positive", "negative"))
    turns = [speech.turn_of(item.start) for _, item in chosen]
    return [
        Shown(label, item, turn, _quote(speech, item, turn))
        for (label, item), turn in zip(chosen, turns, strict=True)
    ]


def reason(shown: Sequence[Shown], labels: Sequence[Label], speech: Speech) -> str:
    """At most 300 characters in the language of the evidence; its turns are the customer's."""
    if not shown:
        return _nothing_found(speech)
    language = _language(shown[0].item, speech)
    names = _NAMES[language]
    said: dict[tuple[int, str], list[str]] = {}
    for piece in shown:
        heard = said.setdefault((piece.turn + 1, piece.text), [])
        if names[piece.label] not in heard:
            heard.append(names[piece.label])
    if language == "zh":
        parts = [f"客户第{turn}轮：“{text}”（{'、'.join(s)}）" for (turn, text), s in said.items()]
        return _joined("" if labels else "迹象微弱：", parts, "；")
    parts = [
        f'customer at turn {turn}: "{text}" ({", ".join(s)})' for (turn, text), s in said.items()
    ]
    return _joined("" if labels else "only weak signs: ", parts, "; ")


def _strongest(found: Sequence[Evidence], labels: Sequence[Label]) -> list[tuple[Label, Evidence]]:
    """At most three: the best of each label first, then the second best of each."""
    ranked: dict[Label, list[Evidence]] = {}
    for label in labels:
        strengths = [(_strength(item, label), -i) for i, item in enumerate(found)]
        best = sorted((pair for pair in strengths if pair[0] > 0), reverse=True)[:_QUOTES]
        ranked[label] = [found[-i] for _, i in best]
    turns = range(_QUOTES)
    chosen = [
        (label, ranked[label][n]) for n in turns for label in labels if n < len(ranked[label])
    ]
    return chosen[:_QUOTES]


def _strength(item: Evidence, label: Label) -> float:
    if label == "positive":
        return item.sentiment
    if label == "negative":
        return -item.sentiment
    if item.denied:
        return 0.0
    weight = item.churn if label == "churn" else item.complaint
    return weight if item.asserted else weight * _ASKED


def _language(item: Evidence, speech: Speech) -> str:
    if item.term.language != "marks":
        return item.term.language
    return "zh" if re.search("[\u4e00-\u9fff]", speech.original) else "en"


def _quote(speech: Speech, item: Evidence, turn: int) -> str:
    """The clause around a term, a substring of one turn."""
    left = speech.original[max(speech.starts[turn], item.start - _QUOTE_WINDOW) : item.start]
    right = speech.original[item.end : min(speech.end_of(turn), item.end + _QUOTE_WINDOW)]
    for stop in _QUOTE_STOP.finditer(left):
        left = left[stop.end() - len(left) :] if stop.end() < len(left) else ""
    if first := _QUOTE_STOP.search(right):
        right = right[: first.start()]
    if len(left) > _QUOTE_SIDE:
        left = left[-_QUOTE_SIDE:].partition(" ")[2] or left[-_QUOTE_SIDE:]
    if len(right) > _QUOTE_SIDE:
        right = right[:_QUOTE_SIDE].rpartition(" ")[0] or right[:_QUOTE_SIDE]
    return f"{left}{speech.original[item.start : item.end]}{right}".strip()


def _joined(prefix: str, parts: Sequence[str], separator: str) -> str:
    reason = prefix + parts[0]
    for part in parts[1:]:
        if len(reason) + len(separator) + len(part) <= REASON_LENGTH:
            reason += separator + part
    return reason


def _nothing_found(speech: Speech) -> str:
    if not speech.original.strip():
        return "nothing to judge: the customer said nothing"
    if not speech.familiar:
        return "nothing to judge: no evidence in a known language (Chinese or English)"
    if re.search("[\u4e00-\u9fff]", speech.original):
        return "客户的话里没有情绪、投诉或流失的迹象"
    return "no sign of feeling, complaint or churn in what the customer said"
