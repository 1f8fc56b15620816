"""Training a classifier of texts, and measuring it on rows that it wasn't trained on.

By n-grams and meaning together (kernel.py), where vectors of meaning are installed and the rows aren't too
many; else by n-grams alone: a support vector machine with squared hinge loss tells each label from the
others (LinearSVC of scikit-learn). How good that is, is measured by stratified cross-validation; the model that is kept is
trained on all rows. Its confidences are calibrated on the scores of the validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import UUID

import numpy as np
import scipy.sparse
import sklearn
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from ai_services.enrichment.analysis.trained.embedding import NAME, embedding, is_installed
from ai_services.enrichment.analysis.trained.model import (
    Block,
    Fact,
    Indices,
    Meaning,
    TrainedModel,
    counted,
    features,
    softmax,
)
from ai_services.enrichment.analysis.trained.ngrams import FAMILIES, Hashes
from ai_services.enrichment.analysis.training import kernel
from ai_services.enrichment.analysis.training.labelled import Labelled, check_trainable
from ai_services.enrichment.analysis.training.measures import Measures, measured
from shared.errors import InvalidInput

_LEAST_TEXTS: Final = (
    2  # that have an n-gram: what only one says tells of that one, and is not kept
)
_TEMPERATURES: Final = np.geomspace(0.1, 5.0, 100)

Found = list[tuple[Hashes, Indices]]  # n-grams of a text, family by family
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Training:
    """What is asked for. `strictness` is C of the support vector machine: the higher, the closer to the rows.

    `meaning`: whether texts are read for what they mean, too; None: where that can be.
    """

    name: str
    fact: Fact = "topic"
    folds: int = 5
    strictness: float = 1.0
    seed: int = 0
    org_id: UUID | None = None
    meaning: bool | None = None

    def reads_meaning(self, rows: int) -> bool:
        """InvalidInput where that is asked for, but there are too many rows."""
        if self.meaning and rows > kernel.MOST_ROWS:
            problem = f"there are {rows:,} rows, and meaning can be read of {kernel.MOST_ROWS:,}"
            raise InvalidInput.of("meaning", problem, "train on fewer, or by n-grams alone")
        if self.meaning is None:
            return rows <= kernel.MOST_ROWS and is_installed()
        return self.meaning


@dataclass(frozen=True, slots=True)
class Fitted:
    """The model, not kept yet, and what the validation measured; `of_folds` are its accuracies."""

    model: TrainedModel
    measures: Measures
    of_folds: tuple[float, ...]


def fit(labelled: Labelled, training: Training, progress: Progress = lambda *_: None) -> Fitted:
    """`progress` hears how many of how many classifiers are trained. InvalidInput: see `check_trainable`
    and `Training.reads_meaning`.
    """
    check_trainable(labelled, training.fact, training.folds)
    training = replace(training, meaning=training.reads_meaning(len(labelled.texts)))
    total = (training.folds + 1) * (1 if training.meaning else len(labelled.names))
    done = count(1)

    def step() -> None:
        progress(next(done), total)

    measures, of_folds, temperature = _validated(labelled, training, step)
    model = replace(
        classifier(labelled, training, step),
        temperature=temperature,
        trained=_told(labelled, training, measures, of_folds),
    )
    return Fitted(model, measures, tuple(of_folds))


def classifier(
    labelled: Labelled, training: Training, step: Callable[[], None] = lambda: None
) -> TrainedModel:
    """Of all rows, neither measured nor calibrated."""
    labels = labelled.names
    texts, wanted = _counted(labelled), _places(labelled)
    blocks = _blocks(texts)
    matrix = _matrix(blocks, texts)
    meaning = None
    if training.reads_meaning(len(texts)):
        vectors = embedding().vectors(labelled.texts)
        found = kernel.solve(matrix, vectors, wanted, len(labels))
        step()
        weights, bias = found.weights.astype(np.float64), np.zeros(len(labels))
        meaning = Meaning(vectors, found.of_rows)
    else:
        weights, bias = _weights(matrix, wanted, len(labels), training, step)
    return TrainedModel(
        training.name, 0, training.fact, labels, blocks, weights.astype(np.float32),
        bias.astype(np.float32), 1.0, training.org_id, {}, meaning,
    )  # fmt: skip


def _validated(
    labelled: Labelled, training: Training, step: Callable[[], None]
) -> tuple[Measures, list[float], float]:
    """What is measured of rows held out, the accuracy of each fold, and the temperature that calibrates."""
    labels = labelled.names
    texts, wanted = _counted(labelled), _places(labelled)
    vectors = embedding().vectors(labelled.texts) if training.reads_meaning(len(texts)) else None
    folds = StratifiedKFold(training.folds, shuffle=True, random_state=training.seed)
    scores = np.zeros((len(texts), len(labels)))
    of_folds = []
    for known, held_out in folds.split(np.zeros(len(texts)), wanted):
        blocks = _blocks([texts[row] for row in known])
        matrix = _matrix(blocks, [texts[row] for row in known])
        unseen = _matrix(blocks, [texts[row] for row in held_out])
        if vectors is None:
            weights, bias = _weights(matrix, wanted[known], len(labels), training, step)
            scores[held_out] = unseen @ weights + bias
        else:
            found = kernel.solve(matrix, vectors[known], wanted[known], len(labels))
            step()
            scores[held_out] = kernel.scores(found, unseen, vectors[held_out], vectors[known])
        right = scores[held_out].argmax(axis=1) == wanted[held_out]
        of_folds.append(round(float(right.mean()), 4))
    temperature = _temperature(scores, wanted)
    sure = softmax(scores, temperature).max(axis=1)
    return measured(labels, wanted, scores.argmax(axis=1), sure), of_folds, temperature


def _counted(labelled: Labelled) -> list[Found]:
    return [[counted(family, text) for family in FAMILIES] for text in labelled.texts]


def _places(labelled: Labelled) -> NDArray[np.int64]:
    places = {label: place for place, label in enumerate(labelled.names)}
    return np.array([places[label] for label in labelled.labels])


def _blocks(texts: Sequence[Found]) -> tuple[Block, ...]:
    """What several of the texts have, and how rare it is."""
    blocks = []
    for place, family in enumerate(FAMILIES):
        every = np.concatenate([found[place][0] for found in texts])
        hashes, rows = np.unique(every, return_counts=True)
        several = rows >= _LEAST_TEXTS
        idf = np.log((1 + len(texts)) / (1 + rows[several])) + 1
        blocks.append(Block(family, hashes[several], idf.astype(np.float32)))
    return tuple(blocks)


def _matrix(blocks: Sequence[Block], texts: Sequence[Found]) -> scipy.sparse.csr_matrix:
    rows = [features(blocks, found) for found in texts]
    ends = np.cumsum([0, *(len(at) for at, _ in rows)])
    width = sum(len(block.vocabulary) for block in blocks)
    values = np.concatenate([weights for _, weights in rows]).astype(np.float64)
    places = np.concatenate([at for at, _ in rows])
    return scipy.sparse.csr_matrix((values, places, ends), (len(rows), width))


def _weights(
    matrix: scipy.sparse.csr_matrix,
    wanted: NDArray[np.int64],
    labels: int,
    training: Training,
    step: Callable[[], None],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n-grams, labels) and (labels,): one classifier for each label, against all others."""
    weights, bias = np.zeros((matrix.shape[1], labels)), np.zeros(labels)
    for label in range(labels):
        machine = LinearSVC(C=training.strictness, tol=1e-2, random_state=training.seed)
        machine.fit(matrix, wanted == label)
        weights[:, label], bias[label] = machine.coef_[0], machine.intercept_[0]
        step()
    return weights, bias


def _temperature(scores: NDArray[np.float64], wanted: NDArray[np.int64]) -> float:
    """At which the labels are likeliest."""
    rows = np.arange(len(wanted))

    def surprise(temperature: float) -> float:
        chances = softmax(scores, temperature)[rows, wanted]
        return float(-np.log(np.maximum(chances, 1e-12)).mean())

    return float(min(_TEMPERATURES, key=surprise))


def _told(
    labelled: Labelled, training: Training, measures: Measures, of_folds: Sequence[float]
) -> dict[str, Any]:
    """What the card says, and who lists models."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": labelled.source,
        "digest": labelled.digest,
        "rows": len(labelled.texts),
        "folds": training.folds,
        "seed": training.seed,
        "strictness": training.strictness,
        "embedding": NAME if training.meaning else None,
        "accuracy": measures.accuracy,
        "accuracy_of_folds": list(of_folds),
        "macro_f1": measures.macro_f1,
        "calibration_error": measures.calibration_error,
        "scikit_learn": sklearn.__version__,
    }
