"""What a customer felt and risks, judged from the transcript of a call.

`Analyzer` is the contract of every analyser. `LocalAnalyzer` is the one that needs nothing but
this package: a Chinese and English lexicon with rules. It judges words, not meaning: no irony
beyond set phrases, no knowledge of the product, no third language. Every verdict names its
analyser, and its `reason` quotes what it went by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ai_services.enrichment.analysis import explain
from ai_services.enrichment.analysis.explain import REASON_LENGTH as REASON_LENGTH  # noqa: PLC0414
from ai_services.enrichment.analysis.explain import Label
from ai_services.enrichment.analysis.lexicon.evidence import RISKY, Evidence
from ai_services.enrichment.analysis.lexicon.load import Lexicon, load_lexicon
from ai_services.enrichment.analysis.speech import Speech
from shared.calls import Risk, Sentiment

_Dimension = Literal["complaint", "churn"]

POSITIVE_FROM: Final = 0.6
NEGATIVE_TO: Final = 0.4

_GRAVE: Final = 0.7  # complaint of a term that is a threat whatever else is said
_MEDIUM_FROM: Final = 0.3
_HIGH_FROM: Final = 0.7
_ASKED: Final = 0.7  # a question or a supposition weighs this much of an assertion
_LAST_TURN: Final = 1.5  # weight of the last turn, when the first weighs 1
_UNHEARD: Final = 0.3  # confidence where no evidence was found
_COURTEOUS: Final = 0.55  # where it was only a little
_PLAIN: Final = 0.42  # a verdict by the literal sense of words, at the edge of neutral …
_PER_DISTANCE: Final = 1.3  # … and what it gains by distance from 0.5
_TWISTED: Final = 0.4  # what irony and wishes take away
_CLEAR_RISK: Final = 0.75  # where a threat was made in so many words
_HEDGED: Final = 0.85  # a risk that is only possible takes this share
_POLITE_MOST: Final = 0.7  # thanks or a polite no, however often, stay neutral
_LETDOWN: Final = 0.08  # what a failure that the agent tells of takes from the score …
_LETDOWNS_MOST: Final = 2  # … and how many of them count
_BESIDE_NEGATIVE: Final = 0.01
_DOUBT: Final = 3.0  # so much contrary weight is supposed before anything is heard


@dataclass(frozen=True, slots=True)
class Turn:
    """`role` is 'customer' or 'agent'; `at_ms` counts from the start of the call."""

    role: str
    at_ms: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """Words that stand in a transcript: `text` is part of `turns[turn].text`, exactly."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """The verdict on one transcript.

    `sentiment_score` is 0..1 with 0.5 neutral, to 4 decimals; `sentiment` is positive from 0.6
    and negative to 0.4. `reason` has at most 300 characters and quotes the customer verbatim,
    never a phone number, in the language of the evidence; its turn numbers count the customer's
    turns only, from 1. `analyzer` says which analyser and which version of it spoke.

    `confidence` is 0..1, how far the verdict may be relied on: 0 where the analyser can't say,
    low where it found nothing or found signs that contradict each other. `evidence` is what it
    went by; its turn numbers count all turns of the transcript, from 0.
    """

    sentiment: Sentiment
    sentiment_score: float
    complaint_risk: Risk
    churn_risk: Risk
    reason: str
    analyzer: str
    confidence: float = 0.0
    evidence: tuple[Quote, ...] = ()


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

    name: Final = "local-lexicon/3"  # another number whenever a rule or a weight changes

    def __init__(self, executor: Executor | None = None) -> None:
        """The first of a process reads and compiles the vocabulary, for seconds; may raise ConfigError."""
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

    The agent's words are no evidence: an apology tells as much about the script as about the
    customer. Only a yes or a no of the customer takes its meaning from what the agent asked, and
    praise counts for less where the agent had to say that it didn't work.
    """
    speech = Speech.of(turns, lexicon)
    found = speech.evidence
    score, clarity = _sentiment(found, speech)
    sentiment: Sentiment = (
        "positive" if score >= POSITIVE_FROM else "negative" if score <= NEGATIVE_TO else "neutral"
    )
    complaint, churn = _risk(_threats(found, sentiment), "complaint"), _risk(found, "churn")
    labels: list[Label] = []
    if churn != "low":
        labels.append("churn")
    if complaint != "low":
        labels.append("complaint")
    if sentiment != "neutral":
        labels.append(sentiment)
    shown = explain.show(speech, labels)
    return Analysis(
        sentiment,
        score,
        complaint,
        churn,
        explain.reason(shown, labels, speech),
        LocalAnalyzer.name,
        _confidence(clarity, complaint, churn),
        tuple(dict.fromkeys(Quote(speech.numbers[s.turn], s.text) for s in shown if s.text)),
    )


def _confidence(clarity: float, complaint: Risk, churn: Risk) -> float:
    hedged = complaint == "medium" or churn == "medium"
    plain = max(clarity, _CLEAR_RISK) if "high" in (complaint, churn) else clarity
    return round(plain * _HEDGED if hedged else plain, 4)


def _threats(found: Sequence[Evidence], sentiment: Sentiment) -> Sequence[Evidence]:
    """What a complaint may be told by: bad words only in a call that is bad on the whole.

    In a happy call neither are bad words, nor a manager who is asked for: to be told of it.
    """
    if sentiment == "negative":
        return found
    least = RISKY if sentiment == "neutral" else _GRAVE
    return [item for item in found if item.term.complaint >= least]


def _sentiment(found: Sequence[Evidence], speech: Speech) -> tuple[float, float]:
    """Balance of liking and dislike against a fixed doubt, and how clear it is; later turns weigh more."""
    liking = dislike = polite_liking = polite_dislike = twisted = 0.0
    slope = (_LAST_TURN - 1.0) / max(1, len(speech.starts) - 1)
    for item in found:
        weight = item.sentiment * (1.0 + slope * speech.turn_of(item.start))
        if item.term.kind == "polite" and not item.twisted:
            polite_liking += max(weight, 0.0)
            polite_dislike -= min(weight, 0.0)
        elif weight > 0:
            liking += weight
        else:
            dislike -= weight
        if item.twisted:
            twisted += abs(weight)
    liking += min(polite_liking, _POLITE_MOST)
    dislike += min(polite_dislike, _POLITE_MOST)
    total = liking + dislike
    score = 0.5 + 0.5 * (liking - dislike) / (total + _DOUBT)
    score = round(_let_down(score, speech.letdowns), 4)
    return score, _clarity(score, total, twisted)


def _let_down(score: float, letdowns: int) -> float:
    """Less than polite words tell where the agent had to refuse; what is negative only words decide."""
    least = min(score, NEGATIVE_TO + _BESIDE_NEGATIVE)
    return max(least, score - _LETDOWN * min(letdowns, _LETDOWNS_MOST))


def _clarity(score: float, total: float, twisted: float) -> float:
    """How far a sentiment may be relied on, from what speaks for it and what against.

    A balance beyond the neutral band is clear by its distance from 0.5. Neutral is unclear where
    much was said on both sides, and where nothing was heard: then there may be more than words.
    """
    if NEGATIVE_TO < score < POSITIVE_FROM:
        return _UNHEARD if not total else max(_UNHEARD, _COURTEOUS - 0.1 * total)
    literal = 1.0 - _TWISTED * twisted / total
    return round(min(1.0, _PLAIN + _PER_DISTANCE * abs(score - 0.5)) * literal, 4)


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
