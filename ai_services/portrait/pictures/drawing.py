"""A picture as shapes, before anything decides how it is written: units are pixels, y grows downwards.

Shades go from 0 (paper) to 1 (ink), so that a picture says the same in colour, in print and to who
tells no colours apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    shade: float


@dataclass(frozen=True, slots=True)
class Line:
    points: Sequence[Point]
    width: float = 1.0
    shade: float = 1.0


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    radius: float
    shade: float = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """`y` is the baseline; `anchor` says which part of the text lies at `x`."""

    x: float
    y: float
    text: str
    size: float = 12.0
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    shade: float = 1.0


Shape = Rect | Line | Dot | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """`title` and `description` are what it says without being seen; `rows` the table of its values."""

    width: float
    height: float
    title: str
    description: str
    rows: Sequence[tuple[str, str]]
    shapes: Sequence[Shape]
    lang: str = "en"


def colour(shade: float) -> tuple[int, int, int]:
    """From white to a blue so dark that it prints as black."""
    part = min(1.0, max(0.0, shade))
    red, green, blue = (round(255 + (ink - 255) * part) for ink in (18, 42, 76))
    return red, green, blue
