"""How right an analyser is, of what it said and what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class OfLabel:
    """`rows` have this label; precision, recall and F1 are 0 where there is nothing to count."""

    label: str
    rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Verdicts with confidences of one tenth of 0 to 1: how many, how sure, how many right."""

    rows: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Measures:
    """`confusion` counts (wanted, said). `calibration_error`: by how much confidence and rightness
    differ, on average (ECE, ten bins); None where the analyser gives no probabilities.
    """

    labels: tuple[str, ...]
    rows: int
    accuracy: float
    macro_f1: float
    of_labels: tuple[OfLabel, ...]
    confusion: NDArray[np.int64]
    calibration_error: float | None = None
    bins: tuple[Bin, ...] = ()

    @property
    def confused(self) -> list[tuple[int, str, str]]:
        """(times, wanted, said), the most frequent first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        pairs = [
            (int(wrong[wanted, said]), self.labels[wanted], self.labels[said])
            for wanted, said in zip(*np.nonzero(wrong), strict=True)
        ]
        return sorted(pairs, key=lambda one: (-one[0], one[1:]))


def measured(
    labels: Sequence[str],
    wanted: NDArray[np.int64],
    said: NDArray[np.int64],
    confidences: NDArray[Any] | None = None,
) -> Measures:
    """Of places in `labels`, row by row; at least one."""
    size = len(labels)
    confusion = np.bincount(wanted * size + said, minlength=size * size).reshape(size, size)
    right = np.diag(confusion)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    there = confusion.sum(axis=1) > 0
    of_labels = tuple(
        OfLabel(label, int(rows), *(round(float(one), 4) for one in figures))
        for label, rows, *figures in zip(
            labels, confusion.sum(axis=1), precision, recall, f1, strict=True
        )
    )
    bins = () if confidences is None else _bins(confidences, wanted == said)
    error = sum(one.rows * abs(one.confidence - one.right) for one in bins) / len(wanted)
    return Measures(
        tuple(labels), len(wanted), round(float(right.sum() / len(wanted)), 4),
        round(float(f1[there].mean()), 4), of_labels, confusion,
        None if confidences is None else round(error, 4), bins,
    )  # fmt: skip


def _bins(confidences: NDArray[Any], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Those that have rows."""
    numbers = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(int(inside.sum()), float(confidences[inside].mean()), float(right[inside].mean()))
        for number in range(BINS)
        if (inside := numbers == number).any()
    )
