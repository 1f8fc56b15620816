"""A file of calls as its readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Literal, Protocol


class CallFile(Protocol):
    """A `Path` is one, and so is what is kept elsewhere under a name. What `open` gives can seek."""

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> Sequence[str]: ...
    def open(self, mode: Literal["rb"], /) -> BinaryIO: ...
