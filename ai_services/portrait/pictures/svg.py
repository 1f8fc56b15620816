"""Drawings as SVG that stands by itself: no script, no style sheet, nothing fetched."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from ai_services.portrait.pictures.drawing import Dot, Drawing, Line, Rect, Shape, Text, colour

_FONTS: Final = "system-ui, 'Noto Sans CJK SC', 'Microsoft YaHei', 'PingFang SC', sans-serif"
_UNWRITABLE: Final = {code: None for code in range(32) if code not in (9, 10, 13)} | {
    0xFFFE: None, 0xFFFF: None,
}  # fmt: skip


def svg(drawing: Drawing, *, name: str = "chart") -> str:
    """The element and what is in it; `name` begins its ids, and differs within one page.

    It is an image to assistive technology: named by its title, described by its values.
    """
    values = "; ".join(f"{key}: {value}" for key, value in drawing.rows)
    described = f"{drawing.description} {values}".strip()
    size = f'width="{drawing.width:g}" height="{drawing.height:g}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}'
        f' viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" xml:lang="{drawing.lang}"'
        f' aria-labelledby="{name}-title" aria-describedby="{name}-desc" font-family="{_FONTS}">'
    )
    lines = [
        head,
        f'<title id="{name}-title">{_text(drawing.title)}</title>',
        f'<desc id="{name}-desc">{_text(described)}</desc>',
        f'<rect {size} fill="#ffffff"/>',
        *(_element(shape) for shape in drawing.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _element(shape: Shape) -> str:
    ink = "#{:02x}{:02x}{:02x}".format(*colour(shape.shade))
    match shape:
        case Rect():
            return (
                f'<rect x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}"'
                f' height="{_n(shape.height)}" fill="{ink}"/>'
            )
        case Line():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
            return (
                f'<polyline points="{points}" fill="none" stroke="{ink}"'
                f' stroke-width="{_n(shape.width)}"/>'
            )
        case Dot():
            return f'<circle cx="{_n(shape.x)}" cy="{_n(shape.y)}" r="{_n(shape.radius)}" fill="{ink}"/>'
        case Text():
            weight = ' font-weight="bold"' if shape.bold else ""
            return (
                f'<text x="{_n(shape.x)}" y="{_n(shape.y)}" font-size="{_n(shape.size)}"'
                f' text-anchor={quoteattr(shape.anchor)}{weight} fill="{ink}">{_text(shape.text)}</text>'
            )


def _n(value: float) -> str:
    """A tenth of a pixel is enough."""
    return f"{round(value, 1):g}"


def _text(text: str) -> str:
    return escape(text.translate(_UNWRITABLE))
