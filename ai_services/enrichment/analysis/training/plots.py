"""Pictures of what was measured, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure

from ai_services.enrichment.analysis.training.measures import Measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMED: Final = 40
_INK: Final = "#1f4e79"


def plots(measures: Measures) -> Mapping[str, bytes]:
    """File name → picture."""
    pictures = {"confusion.png": _confusion(measures), "labels.png": _of_labels(measures)}
    if measures.bins:
        pictures["calibration.png"] = _calibration(measures)
    return pictures


def axis_names(measures: Measures) -> list[str]:
    """The labels, or their numbers in the card where a font may lack them, or they are too many."""
    labels = measures.labels
    if len(labels) <= _MOST_NAMED and all(one.isascii() and len(one) <= 30 for one in labels):
        return list(labels)
    return [str(number) for number in range(1, len(labels) + 1)]


def _confusion(measures: Measures) -> bytes:
    """Shares of each label's rows, so that rare labels are seen as well as frequent ones."""
    names = axis_names(measures)
    side = 3.5 + 0.17 * len(names)
    figure = Figure((side + 1, side))
    axes = figure.subplots()
    whole = measures.confusion.sum(axis=1, keepdims=True).clip(1)
    image = axes.imshow(measures.confusion / whole, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the label's rows")
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    axes.set(xlabel="said", ylabel="wanted", title="Confusion")
    return _png(figure)


def _of_labels(measures: Measures) -> bytes:
    names = axis_names(measures)
    figure = Figure((6, 1.5 + 0.17 * len(names)))
    axes = figure.subplots()
    axes.barh(range(len(names)), [one.f1 for one in measures.of_labels], color=_INK)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="F1", title="By label")
    return _png(figure)


def _calibration(measures: Measures) -> bytes:
    figure = Figure((4.5, 4.5))
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    most = max(one.rows for one in measures.bins)
    axes.scatter(
        [one.confidence for one in measures.bins],
        [one.right for one in measures.bins],
        s=[20 + 180 * one.rows / most for one in measures.bins],
        color=_INK,
        label="a tenth; its size: rows",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that is right")
    axes.set_title(f"Calibration (error {measures.calibration_error:.3f})")
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    return buffer.getvalue()
