"""Whether a transcript takes a model too long, or the model is away.

Both look the same from here: no answer in time. It is the transcript if the model has answered others
meanwhile, and if it was tried in several passes in which no other could tell.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

_PASSES: Final = 3


class Patience:
    """`answers` were given so far; of a transcript that has none in time `is_over` decides."""

    def __init__(self) -> None:
        self.answers = 0
        self._late: Counter[bytes] = Counter()  # while nothing was answered

    def answered(self) -> None:
        self.answers += 1
        self._late.clear()

    def is_over(self, digest: bytes, answers_before: int) -> bool:
        """Of one that was asked about alone in the end, and first when there were so many answers."""
        if self.answers > answers_before:
            return True
        self._late[digest] += 1
        return self._late[digest] >= _PASSES
