"""What both vector adapters accept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.errors import Detail, InvalidInput


def check_vector(vector: Sequence[float]) -> None:
    """Raise InvalidInput for a vector that has no direction: empty, zero, or not finite."""
    length = math.sqrt(sum(value * value for value in vector))
    # Stores keep 32 bits: what they would round to zero or infinity has no direction either.
    if not 1e-18 < length < 1e18:
        raise InvalidInput(
            "A vector without direction can't be compared.",
            details=[
                Detail("vector", f"{len(vector)} numbers of length {length:g}", "finite, not zero")
            ],
        )
