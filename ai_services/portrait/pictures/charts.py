"""Charts from values: a trend as a line or bars, and calls by weekday and hour as a heat map. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from ai_services.portrait.metrics import METRICS, RATES
from ai_services.portrait.pictures import words
from ai_services.portrait.pictures.drawing import Dot, Drawing, Line, Point, Rect, Shape, Text
from ai_services.portrait.pictures.words import Lang
from ai_services.portrait.service import Point as TrendPoint

WIDTH: Final = 720.0
HEIGHT: Final = 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 56.0, 40.0
_MOST_LABELS: Final = 12
_FAINT: Final = 0.15
_SOFT: Final = 0.65
_LINES: Final = frozenset({*RATES, "avg_duration", "avg_rounds", "avg_sentiment_score"})


def trend_chart(metric: str, points: Sequence[TrendPoint], whose: str, lang: Lang) -> Drawing:
    """A line for rates and averages, bars for counts; a period without calls is a gap.

    `points` are oldest first; the axis begins at 0, and ends at 100 % or a round number.
    """
    assert metric in METRICS
    values = [None if point.value is None else float(point.value) for point in points]
    ticks = _ticks(max((value for value in values if value is not None), default=0.0), metric)
    title = f"{words.word(metric, lang)} ({words.unit(metric, lang)})"
    if points:
        title += f" {words.by(points[0].period.type, lang)}"
    title += f" · {whose}"
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = width / max(1, len(points))
    places = [
        (_LEFT + step * (place + 0.5), None if value is None else _TOP + height * (1 - value / ticks[-1]))
        for place, value in enumerate(values)
    ]  # fmt: skip
    marks = _line(places) if metric in _LINES else _bars(places, step)
    return Drawing(
        WIDTH, HEIGHT, title,
        f"{words.word(metric, lang)}, {len(points)}",
        [(words.label(point.period, lang), words.shown(metric, point.value)) for point in points],
        [
            Text(_LEFT, 28, title, 16, bold=True),
            *_axis(metric, ticks, height),
            *marks,
            *_labels(points, step, lang),
        ],
        lang,
    )  # fmt: skip


def _ticks(top: float, metric: str) -> list[float]:
    """0 and up to five more at round distances, the last not below `top`."""
    if metric in RATES:
        return [0, 0.25, 0.5, 0.75, 1]
    rough = max(top, 1e-9 if metric in _LINES else 4) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    if metric not in _LINES:
        step = math.ceil(step)
    steps = max(1, math.ceil(top / step - 1e-9))
    return [step * number for number in range(steps + 1)]


def _axis(metric: str, ticks: Sequence[float], height: float) -> Iterator[Shape]:
    for tick in ticks:
        y = _TOP + height * (1 - tick / ticks[-1])
        yield Line([(_LEFT, y), (WIDTH - _RIGHT, y)], 1, _SOFT if tick == 0 else _FAINT)
        whole = int(tick) if float(tick).is_integer() and metric not in RATES else tick
        yield Text(_LEFT - 8, y + 4, words.shown(metric, whole), 11, "end", shade=0.8)


def _line(places: Sequence[tuple[float, float | None]]) -> Iterator[Shape]:
    for known, run in groupby(places, key=lambda place: place[1] is not None):
        if known:
            points: list[Point] = [(x, y) for x, y in run if y is not None]
            if len(points) > 1:
                yield Line(points, 2)
            yield from (Dot(x, y, 3) for x, y in points)


def _bars(places: Sequence[tuple[float, float | None]], step: float) -> Iterator[Shape]:
    bottom = HEIGHT - _BOTTOM
    for x, y in places:
        if y is not None:
            yield Rect(x - step * 0.35, y, step * 0.7, bottom - y, 0.8)


def _labels(points: Sequence[TrendPoint], step: float, lang: Lang) -> Iterator[Shape]:
    """At most twelve, evenly, the newest among them."""
    every = -(-len(points) // _MOST_LABELS)
    one_year = len({point.period.year for point in points}) <= 1
    for place, point in enumerate(points):
        if (len(points) - 1 - place) % every == 0:
            period = point.period
            text = period.short_label if lang == "zh" and one_year else period.key
            yield Text(_LEFT + step * (place + 0.5), HEIGHT - 16, text, 11, "middle", shade=0.8)


def heat_map(calls: Sequence[Sequence[int]], whose: str, lang: Lang) -> Drawing:
    """[weekday][hour] → calls: the more, the darker, and each number stands in its cell."""
    title = f"{words.word('hours', lang)} · {whose}"
    most = max(max(row) for row in calls)
    width, height = (WIDTH - _LEFT - _RIGHT) / 24, (HEIGHT - _TOP - _BOTTOM) / 7
    days = words.weekdays(lang)
    shapes: list[Shape] = [Text(_LEFT, 28, title, 16, bold=True)]
    for day, row in enumerate(calls):
        y = _TOP + day * height
        shapes.append(Text(_LEFT - 8, y + height / 2 + 4, days[day], 11, "end", shade=0.8))
        for hour, count in enumerate(row):
            share = count / most if most else 0.0
            x = _LEFT + hour * width
            shapes.append(Rect(x + 0.5, y + 0.5, width - 1, height - 1, 0.05 + 0.85 * share))
            if count:
                ink = 0.0 if share > 0.5 else 1.0
                shapes.append(
                    Text(x + width / 2, y + height / 2 + 3, _short(count), 8, "middle", shade=ink)
                )
    shapes += [
        Text(_LEFT + (hour + 0.5) * width, HEIGHT - 20, f"{hour}", 11, "middle", shade=0.8)
        for hour in range(0, 24, 2)
    ]
    rows = [
        (f"{days[day]} {hour}:00", str(count))
        for day, row in enumerate(calls)
        for hour, count in enumerate(row)
        if count
    ]
    return Drawing(WIDTH, HEIGHT, title, words.word("hours", lang), rows, shapes, lang)


def _short(count: int) -> str:
    """At most four characters: 950, 12k, 3M."""
    for size, letter in ((10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count // (10**6 if letter == 'M' else 10**3)}{letter}"
    return str(count)
