"""Drawings as PNG, drawn at four times their size and scaled down, so that edges are smooth.

The font is the one that Pillow brings, which has Latin letters only: drawings for it are in English.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from ai_services.portrait.pictures.drawing import Dot, Drawing, Line, Rect, Shape, Text, colour

SCALE: Final = 2  # pixels per unit, for screens with as many
_FINER: Final = 2
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}


def png(drawing: Drawing) -> bytes:
    """Takes tens of milliseconds: not for an event loop."""
    unit = SCALE * _FINER
    size = round(drawing.width * unit), round(drawing.height * unit)
    image = Image.new("RGB", size, colour(0))
    pen = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        _draw(pen, shape, unit)
    image = image.resize((size[0] // _FINER, size[1] // _FINER), Image.Resampling.BOX)
    written = BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, unit: int) -> None:
    ink = colour(shape.shade)
    match shape:
        case Rect(x, y, width, height):
            corners = (x * unit, y * unit, (x + width) * unit - 1, (y + height) * unit - 1)
            if corners[2] >= corners[0] and corners[3] >= corners[1]:
                pen.rectangle(corners, fill=ink)
        case Line(points, width):
            pen.line([(x * unit, y * unit) for x, y in points], ink, round(width * unit), "curve")
        case Dot(x, y, radius):
            pen.ellipse(
                (
                    (x - radius) * unit,
                    (y - radius) * unit,
                    (x + radius) * unit,
                    (y + radius) * unit,
                ),
                fill=ink,
            )
        case Text():
            text = shape.text.encode("cp1252", "replace").decode(
                "cp1252"
            )  # no box for what it lacks
            pen.text(
                (shape.x * unit, shape.y * unit), text, ink, _font(shape.size * unit),
                _ANCHORS[shape.anchor], stroke_width=round(0.3 * unit) if shape.bold else 0,
                stroke_fill=ink,
            )  # fmt: skip


@lru_cache(16)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
