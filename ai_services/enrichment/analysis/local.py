"""What a customer felt and risks, judged from the transcript of a call.

`Analyzer` is the contract of every analyser. `LocalAnalyzer` is the one that needs nothing but
this package: a Chinese and English lexicon with rules. It judges words, not meaning: no irony
beyond set phrases, no knowledge of the product, no third language. Every verdict names its
analyser, and its `reason` quotes what it went by.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ai_services.enrichment.analysis.lexicon.load import Lexicon, is_japanese, load_lexicon
from ai_services.enrichment.analysis.lexicon.weigh import RISKY, Evidence, weigh
from shared.calls import Risk, Sentiment

_Dimension = Literal["complaint", "churn"]
_Label = Literal["positive", "negative", "complaint", "churn"]

POSITIVE_FROM: Final = 0.6
NEGATIVE_TO: Final = 0.4
REASON_LENGTH: Final = 300

_MEDIUM_FROM: Final = 0.3
_HIGH_FROM: Final = 0.7
_ASKED: Final = 0.7  # a question or a supposition weighs this much of an assertion
_LAST_TURN: Final = 1.5  # weight of the last turn, when the first weighs 1
_POLITE_MOST: Final = 0.7  # thanks or a polite no, however often, stay neutral
_DOUBT: Final = 3.0  # so much contrary weight is supposed before anything is heard

_QUOTES: Final = 3
_QUOTE_SIDE: Final = 30  # characters quoted on either side of a term
_QUOTE_WINDOW: Final = 64  # wider, so that a number cut by the window is never quoted

# Where a quotation stops: clauses, quotation marks, what must not reach a terminal or a
# database (controls, bidirectional overrides, lone surrogates) and what identifies a person.
_QUOTE_STOP: Final = re.compile(
    r"[.,;:!?。，、；：！？…\"“”\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    r"|\+?\d(?:[ -]?\d){6,}|\S*@\S*"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """`role` is 'customer' or 'agent'; `at_ms` counts from the start of the call."""

    role: str
    at_ms: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """The verdict on one transcript.

    `sentiment_score` is 0..1 with 0.5 neutral, to 4 decimals; `sentiment` is positive from 0.6
    and negative to 0.4. `reason` has at most 300 characters and quotes the customer verbatim,
    never a phone number, in the language of the evidence; its turn numbers count the customer's
    turns only, from 1. `analyzer` says which analyser and which version of it spoke.
    """

    sentiment: Sentiment
    sentiment_score: float
    complaint_risk: Risk
    churn_risk: Risk
    reason: str
    analyzer: str


class Analyzer(Protocol):
    """Judges transcripts, many at a time.

    A batch is the unit because both kinds of analyser need it: a local one crosses to its
    executor once for hundreds of transcripts, a remote one keeps its own number of requests in
    flight. The answer has one Analysis per transcript, in order. An analyser that can't judge
    one of them raises a LoomaError for the whole batch, unless it falls back to another
    analyser for that one, whose name the Analysis then carries. Judging the same transcript
    again is harmless, so a failed batch may be repeated.
    """

    @property
    def name(self) -> str: ...

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]: ...


class LocalAnalyzer:
    """Analyzer by lexicon and rules.

    The work is CPU only, a third of a millisecond or less for a usual call. `analyze` does it
    in `executor`, which the caller owns and shuts down; None is the event loop's own threads.
    A thread keeps the loop answering but shares its core: for more than one core, build one
    LocalAnalyzer in each worker process and call `analyze_turns` there.
    """

    name: Final = "local-lexicon/1"  # another number whenever a rule or a weight changes

    def __init__(self, executor: Executor | None = None) -> None:
        """Reads and compiles the vocabulary, some hundred milliseconds; may raise ConfigError."""
        self._lexicon = load_lexicon()
        self._executor = executor

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._analyze_all, transcripts)

    def analyze_turns(self, turns: Sequence[Turn]) -> Analysis:
        """Pure and deterministic; linear in the length of the transcript; raises nothing."""
        return analyze_turns(turns, self._lexicon)

    def _analyze_all(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        return [analyze_turns(turns, self._lexicon) for turns in transcripts]


def analyze_turns(turns: Sequence[Turn], lexicon: Lexicon) -> Analysis:
    """The verdict on one transcript; only turns whose role is 'customer' count.

    The agent's words are no evidence at all: an apology tells as much about the script as
    about the customer.
    """
    speech = _Speech.of(turns, lexicon)
    found = weigh(speech.text, speech.original, speech.starts, lexicon)
    score = _sentiment_score(found, speech)
    sentiment: Sentiment = (
        "positive" if score >= POSITIVE_FROM else "negative" if score <= NEGATIVE_TO else "neutral"
    )
    threats = found if sentiment == "negative" else [i for i in found if i.term.complaint >= RISKY]
    complaint, churn = _risk(threats, "complaint"), _risk(found, "churn")
    # Above: bad words alone are a complaint only in a call that is bad on the whole.
    labels: list[_Label] = []
    if churn != "low":
        labels.append("churn")
    if complaint != "low":
        labels.append("complaint")
    if sentiment != "neutral":
        labels.append(sentiment)
    reason = _reason(found, labels, speech) or _nothing_found(speech, lexicon)
    return Analysis(sentiment, score, complaint, churn, reason, LocalAnalyzer.name)


@dataclass(frozen=True, slots=True)
class _Speech:
    """The customer's turns joined by newlines, as written and normalised; equally long."""

    original: str
    text: str
    starts: list[int]

    @classmethod
    def of(cls, turns: Iterable[Turn], lexicon: Lexicon) -> _Speech:
        said = [turn.text for turn in turns if turn.role == "customer"]
        starts, offset = [], 0
        for text in said:
            starts.append(offset)
            offset += len(text) + 1
        original = "\n".join(said)
        if not original.isascii() and any(map(is_japanese, said)):
            said = ["\0" * len(text) if is_japanese(text) else text for text in said]
        return cls(original, lexicon.normalise("\n".join(said)), starts)

    def turn_of(self, offset: int) -> int:
        """Index of the turn that holds the character at `offset`."""
        return bisect_right(self.starts, offset) - 1

    def end_of(self, turn: int) -> int:
        return self.starts[turn + 1] - 1 if turn + 1 < len(self.starts) else len(self.original)


# ---------------------------------------------------------------- judging


def _sentiment_score(found: Sequence[Evidence], speech: _Speech) -> float:
    """Balance of liking and dislike against a fixed doubt; later turns weigh more."""
    liking = dislike = polite_liking = polite_dislike = 0.0
    slope = (_LAST_TURN - 1.0) / max(1, len(speech.starts) - 1)
    for item in found:
        weight = item.sentiment * (1.0 + slope * speech.turn_of(item.start))
        if item.term.kind == "polite":
            polite_liking += max(weight, 0.0)
            polite_dislike -= min(weight, 0.0)
        elif weight > 0:
            liking += weight
        else:
            dislike -= weight
    liking += min(polite_liking, _POLITE_MOST)
    dislike += min(polite_dislike, _POLITE_MOST)
    return round(0.5 + 0.5 * (liking - dislike) / (liking + dislike + _DOUBT), 4)


def _risk(found: Sequence[Evidence], dimension: _Dimension) -> Risk:
    """Independent pieces of evidence add up as probabilities do; a term counts once.

    Only assertions make a high risk. What is denied or taken back lessens what came before it,
    not what comes after.
    """
    certain = possible = 0.0
    counted: set[str] = set()
    for item in found:
        weight = item.churn if dimension == "churn" else item.complaint
        if not weight:
            continue
        if item.denied:
            certain, possible = certain * (1.0 - weight), possible * (1.0 - weight)
            counted.clear()
        elif item.term.text not in counted:
            if item.asserted:
                counted.add(item.term.text)
                certain += (1.0 - certain) * weight
            possible += (1.0 - possible) * weight * (1.0 if item.asserted else _ASKED)
    if certain >= _HIGH_FROM:
        return "high"
    return "medium" if possible >= _MEDIUM_FROM else "low"


# ---------------------------------------------------------------- explaining

_NAMES: Final[dict[str, dict[_Label, str]]] = {
    "en": {
        "positive": "positive",
        "negative": "negative",
        "complaint": "complaint",
        "churn": "churn",
    },
    "zh": {"positive": "正面", "negative": "负面", "complaint": "投诉", "churn": "流失"},
}


def _reason(found: Sequence[Evidence], labels: Sequence[_Label], speech: _Speech) -> str:
    """The strongest evidence for each label, or the strongest there is; '' if there is none."""
    chosen = _strongest(found, labels) or _strongest(found, ("positive", "negative"))
    if not chosen:
        return ""
    language = _language(chosen[0][1], speech)
    names = _NAMES[language]
    quotes: dict[tuple[int, str], list[str]] = {}
    for label, item in chosen:
        quote = (speech.turn_of(item.start) + 1, _quote(speech, item))
        said = quotes.setdefault(quote, [])
        if names[label] not in said:
            said.append(names[label])
    if language == "zh":
        parts = [
            f"客户第{turn}轮：“{text}”（{'、'.join(s)}）" for (turn, text), s in quotes.items()
        ]
        return _joined("" if labels else "迹象微弱：", parts, "；")
    parts = [
        f'customer at turn {turn}: "{text}" ({", ".join(s)})' for (turn, text), s in quotes.items()
    ]
    return _joined("" if labels else "only weak signs: ", parts, "; ")


def _strongest(
    found: Sequence[Evidence], labels: Sequence[_Label]
) -> list[tuple[_Label, Evidence]]:
    """At most three: the best of each label first, then the second best of each."""
    ranked: dict[_Label, list[Evidence]] = {}
    for label in labels:
        strengths = [(_strength(item, label), -i) for i, item in enumerate(found)]
        best = sorted((pair for pair in strengths if pair[0] > 0), reverse=True)[:_QUOTES]
        ranked[label] = [found[-i] for _, i in best]
    turns = range(_QUOTES)
    chosen = [
        (label, ranked[label][n]) for n in turns for label in labels if n < len(ranked[label])
    ]
    return chosen[:_QUOTES]


def _strength(item: Evidence, label: _Label) -> float:
    if label == "positive":
        return item.sentiment
    if label == "negative":
        return -item.sentiment
    if item.denied:
        return 0.0
    weight = item.churn if label == "churn" else item.complaint
    return weight if item.asserted else weight * _ASKED


def _language(item: Evidence, speech: _Speech) -> str:
    if item.term.language != "marks":
        return item.term.language
    return "zh" if re.search("[\u4e00-\u9fff]", speech.text) else "en"


def _quote(speech: _Speech, item: Evidence) -> str:
    """The clause around a term, a substring of one turn."""
    turn = speech.turn_of(item.start)
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


def _nothing_found(speech: _Speech, lexicon: Lexicon) -> str:
    if not speech.original.strip():
        return "nothing to judge: the customer said nothing"
    if not lexicon.is_familiar(speech.text):
        return "nothing to judge: no evidence in a known language (Chinese or English)"
    if re.search("[\u4e00-\u9fff]", speech.text):
        return "客户的话里没有情绪、投诉或流失的迹象"
    return "no sign of feeling, complaint or churn in what the customer said"
