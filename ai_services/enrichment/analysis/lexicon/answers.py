"""Yes and no: an answer takes its meaning from the question before it.

The words of a question are nobody's feeling. "Are you calling to cancel?" says nothing, and "yes"
says nothing; together they say that the customer cancels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ai_services.enrichment.analysis.lexicon.evidence import Evidence

_REFUSED: Final = -0.8  # of what was liked
_UNFOUNDED: Final = -0.3  # of what was disliked
_NOT_SO: Final = 0.6  # what a denial weakens of the same risk said before

_END: Final = r"(?=\s*(?:$|[,.!?;:~，。！？；：、…\n]))"
_NO: Final = (
    r"(?:(?:no|nope|nah|never|no no|oh no|um no|uh no|well no|hell no|no way|no sir|no ma'am|no thanks?|"
    r"no thank you)(?=\s*(?:$|[,.!?;:\n]|(?:not|it|i|we|they|still|actually|that|because|but)\b))"
    r"|(?:not at all|not really|not even close|not (?:in the )?(?:least|yet)|not quite|not exactly|"
    r"absolutely not|definitely not|certainly not|of course not|far from it|hardly|i don't think so|"
    r"i wouldn't say so|not much|it (?:is|was|does|did)(?:n't| not)|i (?:do|did|am|was)(?:n't| not))\b"
    r"|(?:不是的?|没有|没|不|当然不|当然没有|才不|并不|并没有|不会|不能|不算|不太|不怎么|完全不|完全没有|一点也不|"
    r"一点都不|根本没有|根本不|怎么可能|还没|还没有|唔系|唔係|冇|冇啊|唔)(?:啊|呀|呢|吧|哦|了|的|啦|是)?"
    + _END
    + ")"
)
_YES: Final = (
    r"(?:(?:yes|yeah|yep|yup|ya|sure|correct|right|exactly|absolutely|definitely|certainly|of course|"
    r"indeed|please do|that's right|that is right|that's correct|i do|i am|i would|it is|it was|uh huh|"
    r"affirmative|ok|okay)(?=\s*(?:$|[,.!?;:\n]|(?:please|i|it|that|sir|ma'am|do|absolutely|we|very|so)\b))"
    r"|(?:是的?|对的?|嗯+|恩|没错|当然|当然是|要的?|需要|是啊|对啊|对呀|是呀|对对对?|是是是?|好的?|可以|行|可以的|"
    r"确实|系|系啊|係|係啊|啱|对头)(?:啊|呀|呢|吧|哦|了|的|啦|滴|哒)?" + _END + ")"
)
_LEAD: Final = (
    r"[\s\"'“”]*(?:(?:um+|uh+|er+|oh|well|ah|hmm+|so|呃|额|啊|哎|唉|嗯|那个)[\s,.，。…]*){0,2}"
)
_BEGINS: Final = frozenset(
    " \n\t\"'“ynsucrepadoiwhfoku不没当才并完一根怎还唔冇是对嗯恩要需好可行确系係啱呃额啊哎唉那"
)
_ANSWER: Final = re.compile(f"{_LEAD}(?:(?P<no>{_NO})|(?P<yes>{_YES}))")


@dataclass(frozen=True, slots=True)
class Answer:
    """A yes or a no, `text[start:end]`."""

    yes: bool
    start: int
    end: int


def answer_at(text: str, position: int) -> Answer | None:
    """The answer with which a normalised text goes on at `position`, if it does."""
    if text[position : position + 1] not in _BEGINS:
        return None
    match = _ANSWER.match(text, position)
    if match is None:
        return None
    group = match.lastgroup or "no"
    return Answer(group == "yes", *match.span(group))


def settle_question(questioned: Sequence[Evidence], *, yes: bool) -> None:
    """Weighs what somebody asked as they answered it themselves."""
    for item in questioned:
        said = _answered(item, yes=yes)
        item.sentiment, item.complaint, item.churn = said.sentiment, said.complaint, said.churn
        item.asserted, item.denied, item.asked = said.asserted, said.denied, False


def heard(questioned: Sequence[Evidence], answer: Answer) -> list[Evidence]:
    """What an answer to another's question says, standing where the answer stands."""
    liking = any(item.term.sentiment >= 1 and not item.risky for item in questioned)
    dislike = any(item.term.sentiment <= -1 and not item.risky for item in questioned)
    if liking and dislike:
        return []  # "satisfied or dissatisfied?": a yes means neither
    return [
        replace(_answered(item, yes=answer.yes), start=answer.start, end=answer.end)
        for item in questioned
    ]


def _answered(item: Evidence, *, yes: bool) -> Evidence:
    term = item.term
    sign = -1.0 if (item.sentiment > 0) != (term.sentiment > 0) and item.sentiment else 1.0
    said = replace(item, sentiment=sign * term.sentiment, asserted=True, asked=False)
    if not yes:
        said.sentiment *= _REFUSED if said.sentiment > 0 else _UNFOUNDED
    if item.risky:
        said.sentiment = said.sentiment if yes else 0.0
        was_denied = item.denied and term.kind != "retraction"
        said.denied = was_denied if yes else not item.denied
        if term.kind == "retraction":
            said.denied = yes
        said.complaint = (_NOT_SO if said.denied else term.complaint) if term.complaint else 0.0
        said.churn = (_NOT_SO if said.denied else term.churn) if term.churn else 0.0
    return said
