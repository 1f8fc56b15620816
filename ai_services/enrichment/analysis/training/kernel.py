"""Training by n-grams and meaning together: kernel ridge regression (Saunders et al. 1998).

The kernel of two texts is the product of their n-grams plus closeness of what they mean; each label is told
from the others by targets of 1 and -1. All labels come of one system of equations with a row for each
text, so that time grows with their cube and memory with their square: `MOST_ROWS` are solved in a minute and
half a gigabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ai_services.enrichment.analysis.trained.model import Floats, closeness

MOST_ROWS: Final = 12_000
_OF_NGRAMS: Final = 1 / 3  # three families, each of length 1
_OF_MEANING: Final = 2.0
_RIDGE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Solved:
    """`weights` are (n-grams, labels), `of_rows` (rows, labels), for closeness to each row."""

    weights: Floats
    of_rows: Floats


def solve(
    ngrams: scipy.sparse.csr_matrix, vectors: Floats, wanted: NDArray[np.int64], labels: int
) -> Solved:
    """`ngrams` (rows, n-grams), `vectors` (rows, dimensions) of length 1, `wanted` (rows,): the right labels."""
    rows = len(wanted)
    targets = np.full((rows, labels), -1.0, np.float32)
    targets[np.arange(rows), wanted] = 1.0
    kernel = closeness(vectors, vectors)
    kernel *= _OF_MEANING
    kernel += _OF_NGRAMS * (ngrams @ ngrams.T).toarray().astype(np.float32)
    kernel[np.diag_indices_from(kernel)] += _RIDGE
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    dual = cho_solve(factor, targets, overwrite_b=True, check_finite=False)
    return Solved(
        (_OF_NGRAMS * (ngrams.T @ dual)).astype(np.float32), (_OF_MEANING * dual).astype(np.float32)
    )


def scores(
    found: Solved, ngrams: scipy.sparse.csr_matrix, vectors: Floats, known: Floats
) -> Floats:
    """(texts, labels) of texts whose n-grams and vectors are given; `known` are those of the rows."""
    told: Floats = ngrams @ found.weights + closeness(vectors, known) @ found.of_rows
    return told
