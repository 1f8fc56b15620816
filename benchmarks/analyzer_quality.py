"""How often the analyser is right, on public sets and on utterances whose verdict is known.

Keys: star_annoyed_auc (calm customers score higher than annoyed ones, STAR), asap_polarity (share
of Chinese reviews with 1–2 or 4–5 stars on the right side of 0.5), asap_balanced (mean of the
shares of both kinds), asap_auc, banking77_accuracy (of a model that is trained in this run on the
train split of BANKING77, 77 intents, as `looma analyze train` does, on the test split; where there is
no test split, which is withheld from some copies, by cross-validation of the train split),
banking77_measured_on (which of the two), utterances_as_wanted of utterances (LOOMA_TEST_UTTERANCES, a JSON Lines file of
`{"id", "turns", "want"}`; null without one), confident_share and confident_right (reviews judged
with a confidence of at least 0.6, and how many of those rightly).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ai_services.enrichment.analysis.local import Analysis, LocalAnalyzer, Turn
from ai_services.enrichment.analysis.training.fitting import Training, classifier, fit
from ai_services.enrichment.analysis.training.labelled import read_labelled
from benchmarks.ingest import data_folder

_SURE = 0.6


def run(*, quick: bool) -> dict[str, float | int | str | None]:
    analyzer = LocalAnalyzer()
    data = data_folder()
    figures: dict[str, float | int | str | None] = {}
    figures |= _star(analyzer, data, every=4 if quick else 1)
    figures |= _asap(analyzer, data)
    figures |= _banking77(data / "banking77", folds=2 if quick else 5)
    figures |= _utterances(analyzer, _utterances_file(data))
    return figures


def auc(above: Sequence[float], below: Sequence[float]) -> float:
    """Chance that one of `above` lies over one of `below`, ties half (Mann-Whitney)."""
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    return wins / (len(above) * len(below))


def _star(analyzer: LocalAnalyzer, data: Path, *, every: int) -> dict[str, float | int | None]:
    path = data / "star_dialogues" / "star.jsonl.gz"
    if not path.exists():
        return {"star_annoyed_auc": None}
    calm: list[float] = []
    annoyed: list[float] = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            dialogue = json.loads(line)
            for question, answer in dialogue["agent_q"] or ():
                if "aggressive or annoyed" in question and (answer or number % every == 0):
                    score = analyzer.analyze_turns(_turns(dialogue["turns"])).sentiment_score
                    (annoyed if answer else calm).append(score)
    return {"star_annoyed_auc": round(auc(calm, annoyed), 4)}


def _asap(analyzer: LocalAnalyzer, data: Path) -> dict[str, float | int | None]:
    path = data / "asap_reviews_sample" / "asap_sample.csv"
    if not path.exists():
        return dict.fromkeys(("asap_polarity", "asap_balanced", "asap_auc"))
    liked: list[Analysis] = []
    disliked: list[Analysis] = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            stars = float(row["star"])
            if stars <= 2 or stars >= 4:
                verdict = analyzer.analyze_turns([Turn("customer", None, row["reviewbody"])])
                (liked if stars >= 4 else disliked).append(verdict)
    right = [v for v in liked if v.sentiment_score > 0.5]
    right += [v for v in disliked if v.sentiment_score < 0.5]
    all_of_them = [*liked, *disliked]
    sure = [v for v in all_of_them if v.confidence >= _SURE]
    shares = [
        sum(v.sentiment_score > 0.5 for v in liked) / len(liked),
        sum(v.sentiment_score < 0.5 for v in disliked) / len(disliked),
    ]
    return {
        "asap_polarity": round(len(right) / len(all_of_them), 4),
        "asap_balanced": round(sum(shares) / 2, 4),
        "asap_auc": round(
            auc([v.sentiment_score for v in liked], [v.sentiment_score for v in disliked]), 4
        ),
        "confident_share": round(len(sure) / len(all_of_them), 4),
        "confident_right": round(sum(v in right for v in sure) / max(1, len(sure)), 4),
    }


def _banking77(folder: Path, *, folds: int) -> dict[str, float | int | str | None]:
    """The hyperparameters were chosen by cross-validation of the train split; no test row was seen."""
    if not (folder / "train.csv").exists():
        return {"banking77_accuracy": None, "banking77_measured_on": None}
    known = read_labelled(folder / "train.csv", label="category")
    training = Training("banking77", folds=folds)
    test = Path(os.environ.get("LOOMA_TEST_BANKING77", folder / "test.csv"))
    if test.exists():
        model, held_out = classifier(known, training), read_labelled(test, label="category")
        said = [model.label(text).label for text in held_out.texts]
        right = sum(a == b for a, b in zip(said, held_out.labels, strict=True))
        return {
            "banking77_accuracy": round(right / len(said), 4),
            "banking77_measured_on": "test split",
        }
    return {
        "banking77_accuracy": fit(known, training).measures.accuracy,
        "banking77_measured_on": f"{folds}-fold cross-validation",
    }


def _utterances_file(data: Path) -> Path:
    default = data / "utterances.jsonl"
    return Path(os.environ.get("LOOMA_TEST_UTTERANCES", default))


def _utterances(analyzer: LocalAnalyzer, path: Path) -> dict[str, float | int | None]:
    if not path.exists():
        return {"utterances_as_wanted": None, "utterances": None}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    right = 0
    for line in lines:
        verdict = analyzer.analyze_turns(_turns(line["turns"]))
        if missed := [part for part in _parts(line["want"]) if not _is_met(verdict, *part)]:
            print(f"{line['id']}: {missed} {verdict.reason}", file=sys.stderr)
        right += not missed
    return {"utterances_as_wanted": right, "utterances": len(lines)}


def _parts(want: str) -> Iterator[tuple[str, str]]:
    """'negative/neutral, complaint low' → ('', 'negative/neutral'), ('complaint', 'low')."""
    for part in want.split(","):
        name, _, allowed = part.strip().rpartition(" ")
        yield name, allowed


def _is_met(verdict: Analysis, name: str, allowed: str) -> bool:
    said = {
        "": verdict.sentiment,
        "complaint": verdict.complaint_risk,
        "churn": verdict.churn_risk,
    }[name]
    return said in allowed.split("/")


def _turns(turns: Sequence[dict[str, Any]]) -> list[Turn]:
    return [
        Turn(turn["role"], None, turn["text"])
        for turn in turns
        if turn["role"] in ("customer", "agent")
    ]
