"""Reports as PDF on one page of A4.

Chinese is set in STSong-Light, one of the fonts that the format has names for: it lies with who reads
the file, and nothing is embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Final

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from ai_services.portrait.pictures.drawing import Dot, Drawing, Line, Rect, Shape, Text, colour
from ai_services.portrait.pictures.report import Report, Table

_WIDTH, _HEIGHT = A4
_MARGIN: Final = 40.0
_ROW: Final = 13.0
_SIZE: Final = 8.5
_CHINESE: Final = "STSong-Light"
_MOST_CHARS: Final = 60


def pdf(report: Report) -> bytes:
    """Takes tens of milliseconds: not for an event loop. The same report is the same bytes."""
    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    written = BytesIO()
    page = Canvas(written, pagesize=A4, invariant=1, pageCompression=1)
    page.setTitle(report.title)
    page.setAuthor("Looma AI")
    page.setSubject(" ".join(report.lines))
    page.setCatalogEntry("Lang", "zh-CN" if report.lang == "zh" else "en")
    y = _HEIGHT - _MARGIN - 10
    _write(page, _MARGIN, y, report.title, 16, bold=True)
    for line in report.lines:
        y -= 15
        _write(page, _MARGIN, y, line, 10)
    for table in report.tables:
        y = _table(page, table, y - 20)
    _drawings(page, report.drawings, y - 14)
    page.showPage()
    page.save()
    return written.getvalue()


def _table(page: Canvas, table: Table, y: float) -> float:
    """Returns where it ends."""
    columns = len(table.head)
    first = (_WIDTH - 2 * _MARGIN) * (0.44 if columns > 2 else 0.8)
    step = (_WIDTH - 2 * _MARGIN - first) / (columns - 1)
    for row in (table.head, *table.rows):
        heading = row is table.head
        _write(page, _MARGIN, y, row[0][:_MOST_CHARS], _SIZE, bold=heading)
        for place, cell in enumerate(row[1:], 1):
            _write(page, _MARGIN + first + step * place, y, cell, _SIZE, "end", bold=heading)
        page.setStrokeColorRGB(0.77, 0.8, 0.84)
        page.setLineWidth(0.5)
        page.line(_MARGIN, y - 3.5, _WIDTH - _MARGIN, y - 3.5)
        y -= _ROW
    return y


def _drawings(page: Canvas, drawings: Sequence[Drawing], top: float) -> None:
    """Below each other, as large as what is left of the page has room for."""
    room = (top - _MARGIN) / max(1, len(drawings))
    for drawing in drawings:
        scale = min((_WIDTH - 2 * _MARGIN) / drawing.width, room / drawing.height)
        page.saveState()
        page.translate(_MARGIN, top)
        page.scale(scale, scale)
        for shape in drawing.shapes:
            _draw(page, shape)
        page.restoreState()
        top -= drawing.height * scale


def _draw(page: Canvas, shape: Shape) -> None:
    """Its y grows upwards."""
    ink = [part / 255 for part in colour(shape.shade)]
    page.setFillColorRGB(*ink)
    page.setStrokeColorRGB(*ink)
    match shape:
        case Rect(x, y, width, height):
            page.rect(x, -y - height, width, height, stroke=0, fill=1)
        case Line(points, width):
            page.setLineWidth(width)
            path = page.beginPath()
            path.moveTo(points[0][0], -points[0][1])
            for x, y in points[1:]:
                path.lineTo(x, -y)
            page.drawPath(path, stroke=1, fill=0)
        case Dot(x, y, radius):
            page.circle(x, -y, radius, stroke=0, fill=1)
        case Text():
            _write(
                page, shape.x, -shape.y, shape.text, shape.size, shape.anchor,
                bold=shape.bold, shade=shape.shade,
            )  # fmt: skip


def _write(
    page: Canvas, x: float, y: float, text: str, size: float, anchor: str = "start", *,
    bold: bool = False, shade: float = 1.0,
) -> None:  # fmt: skip
    page.setFillColorRGB(*(part / 255 for part in colour(shade)))
    page.setFont(_font(text, bold), size)
    draw = {
        "start": page.drawString, "middle": page.drawCentredString, "end": page.drawRightString,
    }[anchor]  # fmt: skip
    draw(x, y, text)


def _font(text: str, bold: bool) -> str:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return _CHINESE
    return "Helvetica-Bold" if bold else "Helvetica"
