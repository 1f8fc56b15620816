"""Training a model of one's own, with a bar, and measuring analysers on labelled texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from ai_services.enrichment.analysis.chain.own_model import heard
from ai_services.enrichment.analysis.corrections import store as corrections
from ai_services.enrichment.analysis.local import LocalAnalyzer, Turn
from ai_services.enrichment.analysis.rows import to_turns
from ai_services.enrichment.analysis.trained.model import LABELS, Fact
from ai_services.enrichment.analysis.trained.registry import CARD, is_name, load, root_of, save
from ai_services.enrichment.analysis.training.labelled import Labelled, check_trainable
from ai_services.enrichment.analysis.training.measures import Measures, measured
from looma_cli.stores.organisation import opened_for
from looma_cli.terminal.console import bar
from shared.config import Config
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.training.fitting import Fitted

_LOCAL = "local"
_OF_WORDS = ("sentiment", "complaint_risk", "churn_risk")  # facts that the local analyser judges


@dataclass(frozen=True, slots=True)
class TrainedNow:
    """What was trained and kept, and where its card is."""

    fitted: Fitted
    card: Path


async def labelled_of_corrections(
    config: Config, org: str | None, fact: Fact
) -> tuple[Labelled, UUID]:
    """What customers said in calls of which a person has decided this fact, and whose calls they are."""
    async with opened_for(config, org) as (db, org_id), db.tenant(org_id, readonly=True) as tx:
        rows = await corrections.labelled(tx, org_id, fact)
    spoken = [(heard(to_turns(row["turns"])), row["label"]) for row in rows]
    known = [one for one in spoken if one[0]]
    texts, labels = [text for text, _ in known], [label for _, label in known]
    return Labelled.of(texts, labels, "corrected calls"), org_id


def train_model(
    config: Config,
    labelled: Labelled,
    *,
    name: str,
    fact: Fact,
    folds: int,
    seed: int,
    org_id: UUID | None,
    meaning: bool | None = None,
) -> TrainedNow:
    """InvalidInput names what keeps it from being trained, the missing packages among it."""
    if not is_name(name):
        raise InvalidInput.of(
            "--name", f"{name!r} is no name", "use small letters, digits, - and _, 40 at most"
        )
    check_trainable(labelled, fact, folds)
    try:
        from ai_services.enrichment.analysis.training.card import card
        from ai_services.enrichment.analysis.training.fitting import Training, fit
        from ai_services.enrichment.analysis.training.plots import plots
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"Training needs {error.name}: pip install 'looma-ai[training]'."
        ) from error
    training = Training(name, fact, folds, seed=seed, org_id=org_id, meaning=meaning)
    with bar("Training", folds + 1, "classifiers") as progress:
        fitted = fit(labelled, training, progress.to)
    root = root_of(config)
    papers = {CARD: card(fitted).encode(), **plots(fitted.measures)}
    model = save(root, fitted.model, papers)
    return TrainedNow(replace(fitted, model=model), root / model.name / str(model.version) / CARD)


def evaluated(
    config: Config, labelled: Labelled, reference: str, fact: Fact
) -> tuple[str, Measures]:
    """Which analyser it was, and how right. `fact` is what the local one is asked."""
    if not labelled.texts:
        raise InvalidInput("There is no row to measure it on.")
    if reference == _LOCAL:
        return _by_words(labelled, fact)
    model = load(root_of(config), reference.removeprefix("trained:"))
    said = []
    with bar("Judging", len(labelled.texts), "texts") as progress:
        for text in labelled.texts:
            said.append(model.label(text))
            progress.advance(1)
    names = [one.label for one in said]
    return model.analyzer, _measured(labelled, names, [one.confidence for one in said])


def _by_words(labelled: Labelled, fact: Fact) -> tuple[str, Measures]:
    if fact not in _OF_WORDS:
        raise InvalidInput.of(
            "--fact", f"the local analyser judges no {fact}", f"one of {', '.join(_OF_WORDS)}"
        )
    unknown = set(labelled.labels) - set(LABELS[fact])
    if unknown:
        raise InvalidInput(
            f"{fact} has the labels {', '.join(LABELS[fact])}, and not {min(unknown)!r}."
        )
    analyzer = LocalAnalyzer()
    said = []
    with bar("Judging", len(labelled.texts), "texts") as progress:
        for text in labelled.texts:
            said.append(getattr(analyzer.analyze_turns([Turn("customer", None, text)]), fact))
            progress.advance(1)
    return analyzer.name, _measured(labelled, said, None)


def _measured(labelled: Labelled, said: list[str], confidences: list[float] | None) -> Measures:
    labels = sorted({*labelled.labels, *said})
    return measured(
        labels,
        np.array([labels.index(one) for one in labelled.labels]),
        np.array([labels.index(one) for one in said]),
        None if confidences is None else np.array(confidences),
    )
