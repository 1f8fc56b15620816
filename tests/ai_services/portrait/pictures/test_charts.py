"""Charts as they look: golden texts, golden images with a tolerance.

`UPDATE_GOLDEN=1` writes what is drawn now; look at it before it is committed.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from ai_services.portrait.metrics import METRICS
from ai_services.portrait.period import parse
from ai_services.portrait.pictures.charts import heat_map, trend_chart
from ai_services.portrait.pictures.drawing import Drawing, Text
from ai_services.portrait.pictures.png import png
from ai_services.portrait.pictures.svg import svg
from ai_services.portrait.pictures.words import Lang
from ai_services.portrait.service import Point

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
RATES = (0.3, 0.41, None, 0.5, 0.62, 0.58, None, None, 0.7, 0.66, 0.9, 0.75, 0.8)
CELLS = [
    [(7 * day + 3 * hour) % 29 if 8 < hour < 20 else 0 for hour in range(24)] for day in range(7)
]


def points(*values: float | None) -> list[Point]:
    period, found = parse("week", "2024-W40"), []
    for value in values:
        found.append(Point(period, value))
        period = period.next()
    return found


DRAWINGS: dict[str, Drawing] = {
    "line": trend_chart("connect_rate", points(*RATES), "user u1", "en"),
    "bars": trend_chart("total_calls", points(3, 12, None, 7, 41), "customer k1", "en"),
    "hours": heat_map(CELLS, "user u1", "en"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_chart_is_the_svg_that_it_was(name: str) -> None:
    path, drawn = GOLDEN / f"{name}.svg", svg(DRAWINGS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawn)
    assert drawn == path.read_text()


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_chart_looks_as_it_did(name: str) -> None:
    """Edges may differ between versions of what draws letters; shapes don't."""
    path, drawn = GOLDEN / f"{name}.png", png(DRAWINGS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(drawn)
    seen, wanted = Image.open(BytesIO(drawn)), Image.open(path)
    assert seen.size == wanted.size
    difference = ImageChops.difference(seen.convert("L"), wanted.convert("L"))
    assert ImageStat.Stat(difference).mean[0] < 1.0, "of 255, over all pixels"


def test_a_chart_says_what_it_shows_to_who_does_not_see_it() -> None:
    root = ET.fromstring(svg(DRAWINGS["line"]))
    assert root.get("role") == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert (root.get("aria-labelledby"), root.get("aria-describedby")) == (
        title.get("id"), desc.get("id"),
    )  # fmt: skip
    assert title.text == "Connect rate (%) by week · user u1"
    assert desc.text is not None
    assert "2024-W50: 90.0%" in desc.text
    assert "2024-W42: –" in desc.text


@given(st.text(max_size=40), st.sampled_from(["zh", "en"]))
def test_no_name_breaks_out_of_a_chart(name: str, lang: Lang) -> None:
    for drawing in (
        trend_chart("total_calls", points(1, 2), name, lang),
        heat_map(CELLS, name, lang),
    ):
        root = ET.fromstring(svg(drawing))
        assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {
            "svg", "title", "desc", "rect", "polyline", "circle", "text",
        }  # fmt: skip


@given(
    st.sampled_from(sorted(METRICS)),
    st.lists(st.none() | st.floats(0, 1) | st.integers(0, 10**9), max_size=120),
    st.sampled_from(["zh", "en"]),
)
def test_whatever_the_values_they_lie_on_the_paper(
    metric: str, values: list[float | None], lang: Lang
) -> None:
    if metric.endswith("_rate"):
        values = [None if value is None else min(1.0, value) for value in values]
    drawing = trend_chart(metric, points(*values), "x", lang)
    for one in ET.fromstring(svg(drawing)).iter(f"{SVG}circle"):
        assert 0 <= float(one.get("cx", "")) <= drawing.width
        assert 50 <= float(one.get("cy", "")) <= drawing.height - 30
    labels = [shape for shape in drawing.shapes if isinstance(shape, Text)]
    assert len(labels) <= 1 + 8 + 12
    assert len(drawing.rows) == len(values)
