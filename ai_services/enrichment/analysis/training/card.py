"""The card of a model (Mitchell et al. 2019): what it is for, of what it was made, how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ai_services.enrichment.analysis.trained.model import TrainedModel
from ai_services.enrichment.analysis.training.fitting import Fitted
from ai_services.enrichment.analysis.training.measures import Measures
from ai_services.enrichment.analysis.training.plots import axis_names

_CONFUSED: Final = 10


def card(fitted: Fitted) -> str:
    """Markdown, to stand beside the pictures."""
    model, measures, told = fitted.model, fitted.measures, fitted.model.trained
    return f"""# {model.name}

Tells the {model.fact.replace("_", " ")} of a call by what the customer says: one of {len(model.labels)} labels.
It was trained on {told["rows"]:,} rows of {told["source"]} (SHA-256 {told["digest"][:16]}…) at {told["at"]}.

    ANALYZER=trained:{model.name}

## How good it is

{told["folds"]}-fold stratified cross-validation: each row is judged by a model that hasn't seen it.

| accuracy | of the folds | macro-F1 | calibration error |
|---|---|---|---|
| {measures.accuracy:.4f} | {min(fitted.of_folds):.4f} to {max(fitted.of_folds):.4f} | {measures.macro_f1:.4f} | {_figure(measures.calibration_error)} |

![Confusion](confusion.png)
![F1 by label](labels.png)
![Calibration](calibration.png)

What it confuses most:

{_table(("times", "wanted", "said"), measures.confused[:_CONFUSED])}

{_labels(measures)}

## How it works

{_how(model, told)} Its confidence is the softmax of their scores at the
temperature {model.temperature:.3f}, fitted on the cross-validation.

## What to know before using it

- It knows the labels that it was trained on and no others: of any text it says one of them. Rows of a label
  `other` teach it what is none of the rest.
- It was measured on rows like those it was trained on. Calls that are longer, or of another line of business, are
  something else: `looma analyze eval` measures it on those.
- {_kept(model)} {_whose(fitted)}
"""


def _how(model: TrainedModel, told: dict[str, Any]) -> str:
    ngrams = f"{sum(len(block.vocabulary) for block in model.blocks):,} n-grams that at least two rows have"
    of_words = f"TF-IDF of words and their neighbours, pairs of words, and parts of words: {ngrams}"
    if model.meaning is None:
        return (
            f"Linear support vector machines, one for each label against the others (C = "
            f"{told['strictness']}, scikit-learn {told['scikit_learn']}, seed {told['seed']}), over {of_words}."
        )
    return (
        f"Kernel ridge regression of each label against the others (seed {told['seed']}), over {of_words}; and "
        f"over what texts mean: how close the mean of their tokens' vectors ({told['embedding']}) is to that of "
        f"each row."
    )


def _kept(model: TrainedModel) -> str:
    guess = (
        "Its files hold no text: n-grams are 64-bit digests, and what only one row has is left out. "
        "Whoever guesses a phrase can find out whether it may have been there."
    )
    if model.meaning is None:
        return guess
    return (
        f"{guess} The vector of each row is kept: words that it has can be guessed from it, so keep the files as "
        "you keep the rows."
    )


def _whose(fitted: Fitted) -> str:
    if fitted.model.org_id is None:
        return "It judges the calls of every organisation."
    return (
        "It was trained on calls of one organisation, judges only theirs, and doesn't forget what is "
        "erased after it was trained: train it again then."
    )


def _labels(measures: Measures) -> str:
    numbers = axis_names(measures)
    rows = [
        (number, one.label, one.rows, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}")
        for number, one in zip(numbers, measures.of_labels, strict=True)
    ]
    return _table(("in pictures", "label", "rows", "precision", "recall", "F1"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(one) for one in line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split())


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
