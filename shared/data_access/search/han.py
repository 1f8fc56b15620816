"""Traditional Chinese characters as simplified ones, so that 投訴 and 投诉 are one word.

A character stands for a character: the text keeps its length. Where one simplified character
stands for several (发 for 發 and 髮), they become one; nothing is turned the other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def simplification() -> Mapping[int, int]:
    """For `str.translate`: code point → code point."""
    text = (
        files("shared.data_access.search").joinpath("traditional.txt").read_text(encoding="utf-8")
    )
    pairs = [
        pair for line in text.splitlines() if not line.startswith("#") for pair in line.split()
    ]
    return {ord(pair[0]): ord(pair[1]) for pair in pairs}


def simplified(text: str) -> str:
    """`text` in simplified characters, as long as before."""
    return text if text.isascii() else text.translate(simplification())
