"""A trained model: scores over the n-grams of a text and over what it means, a probability of each label.

`features` are terms of TF-IDF (Salton & Buckley 1988): (1 + log count) · idf, each family of n-grams
scaled to length 1. Probabilities are the softmax of the scores at the temperature with which they were
found to be calibrated (Guo et al. 2017). Training reads texts by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ai_services.enrichment.analysis.chain.asking.verdict import Resolution
from ai_services.enrichment.analysis.trained.embedding import embedding
from ai_services.enrichment.analysis.trained.ngrams import FAMILIES, Hashes
from shared.calls import RISKS, SENTIMENTS

Fact = Literal["topic", "sentiment", "complaint_risk", "churn_risk", "resolution"]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_STEEPNESS: Final = 2.0  # of closeness, over the squared distance of meanings

# The labels that a fact can have; of a topic any.
LABELS: Final[dict[str, tuple[str, ...]]] = {
    "sentiment": SENTIMENTS,
    "complaint_risk": RISKS,
    "churn_risk": RISKS,
    "resolution": Resolution.__args__,  # type: ignore[attr-defined]
}


@dataclass(frozen=True, slots=True)
class Block:
    """The n-grams of one family that a model knows, in ascending order, and how rare each is."""

    family: str
    vocabulary: Hashes
    idf: Floats

    def row(self, found: Hashes, counts: Indices) -> tuple[Indices, Floats]:
        """Which n-grams of a text are known, as `counted` has them, and what each weighs.

        The weights are of length 1, unless there are none.
        """
        if not len(self.vocabulary) or not len(found):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        at = np.searchsorted(self.vocabulary, found)
        at[at == len(self.vocabulary)] = 0
        known = self.vocabulary[at] == found
        at = at[known]
        weights = (1.0 + np.log(counts[known])) * self.idf[at]
        length = np.sqrt(np.sum(weights * weights))
        return at, (weights / length if length else weights).astype(np.float32)


def counted(family: str, text: str) -> tuple[Hashes, Indices]:
    """The n-grams of a text in ascending order, and how often it has each."""
    return np.unique(FAMILIES[family](text), return_counts=True)


def features(
    blocks: Sequence[Block], found: Sequence[tuple[Hashes, Indices]]
) -> tuple[Indices, Floats]:
    """The rows of all blocks, one beside another; `found`: what each finds in the text."""
    start, places, weights = 0, [], []
    for block, (hashes, counts) in zip(blocks, found, strict=True):
        at, row = block.row(hashes, counts)
        places.append(at + start)
        weights.append(row)
        start += len(block.vocabulary)
    return np.concatenate(places), np.concatenate(weights)


def closeness(one: Floats, other: Floats) -> Floats:
    """(m, n): the Gaussian kernel between (m, d) and (n, d) vectors of length 1."""
    near: Floats = np.exp((2 * _STEEPNESS) * (one @ other.T - 1))
    return near


@dataclass(frozen=True, slots=True)
class Meaning:
    """`vectors` (rows, dimensions) are of the texts that were trained on, `weights` (rows, labels)
    what closeness to each tells.
    """

    vectors: Floats
    weights: Floats

    def scores(self, text: str) -> Floats:
        scores: Floats = closeness(embedding().vectors([text]), self.vectors)[0] @ self.weights
        return scores


@dataclass(frozen=True, slots=True)
class Label:
    """`confidence`: the probability, 0 to 1, that it is right."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`weights` are (n-grams of all blocks, labels), `bias` (labels,). `meaning` None: it reads n-grams alone.

    It judges `fact`, of all organisations unless it was trained of the calls of one: `org_id`.
    `trained` is what its card tells of how it came about.
    """

    name: str
    version: int
    fact: Fact
    labels: tuple[str, ...]
    blocks: tuple[Block, ...]
    weights: Floats
    bias: Floats
    temperature: float
    org_id: UUID | None
    trained: dict[str, Any]
    meaning: Meaning | None = None

    @property
    def analyzer(self) -> str:
        return f"trained:{self.name}@{self.version}"

    def scores(self, text: str) -> Floats:
        """(labels,): the higher, the rather."""
        found = [counted(block.family, text) for block in self.blocks]
        at, row = features(self.blocks, found)
        scores: Floats = row @ self.weights[at] + self.bias
        return scores if self.meaning is None else scores + self.meaning.scores(text)

    def probabilities(self, text: str) -> Floats:
        """(labels,), of sum 1."""
        chances: Floats = softmax(self.scores(text)[None], self.temperature)[0]
        return chances

    def label(self, text: str) -> Label:
        chances = self.probabilities(text)
        best = int(np.argmax(chances))
        return Label(self.labels[best], round(float(chances[best]), 4))


def softmax(scores: NDArray[Any], temperature: float) -> NDArray[Any]:
    """(texts, labels) → probabilities; a lower temperature is surer."""
    scaled = scores / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    chances: NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return chances
