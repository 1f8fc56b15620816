"""`looma analyze train|eval|models`: models of one's own, and how right any analyser is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.training.labelled import Labelled
    from ai_services.enrichment.analysis.training.measures import Measures

analyze = typer.Typer(
    no_args_is_help=True, help="Models of your own: train them, measure any analyser, list them."
)
FactName = Literal["topic", "sentiment", "complaint_risk", "churn_risk", "resolution"]
FactOption = Annotated[FactName, typer.Option(help="What the labels tell of a call.")]
TextColumn = Annotated[str, typer.Option("--text", help="The column that has the texts.")]
LabelColumn = Annotated[str, typer.Option("--label", help="The column that has their labels.")]
_CONFUSED = 5


@analyze.command()
def train(
    file: Annotated[
        Path | None, typer.Argument(metavar="LABELED.csv", help="Texts with labels, UTF-8.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; the file's unless given.")] = None,
    fact: FactOption = "topic",
    text: TextColumn = "text",
    label: LabelColumn = "label",
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Of the calls that people have corrected.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="By which rows are put into folds.")] = 0,
    meaning: Annotated[
        bool | None,
        typer.Option(
            "--meaning/--no-meaning",
            help="Whether it reads what texts mean, too. [default: up to 12,000 rows]",
            show_default=False,
        ),
    ] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, measure it by cross-validation, and keep it with its card."""
    from looma_cli.runner import run, settings
    from looma_cli.work.training import labelled_of_corrections, train_model
    from shared.errors import InvalidInput

    if corrections:
        if file is not None:
            raise InvalidInput("Train of a file or of --corrections: one of the two.")
        labelled, org_id = run(lambda config: labelled_of_corrections(config, org, fact))
        called = name or fact.replace("_", "-")
    else:
        if file is None:
            raise InvalidInput("Train of a file, LABELED.csv, or of --corrections: one of the two.")
        labelled, org_id = _read(file, text, label), None
        called = name or _name_of(file)
    done = train_model(
        settings(),
        labelled,
        name=called,
        fact=fact,
        folds=folds,
        seed=seed,
        org_id=org_id,
        meaning=meaning,
    )
    model = done.fitted.model
    _show(
        done.fitted.measures,
        {"model": model.analyzer, "card": str(done.card), "of_folds": done.fitted.of_folds},
        as_json=as_json,
    )


@analyze.command("eval")
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="LABELED.csv", help="Texts with labels, UTF-8.")],
    model: Annotated[
        str, typer.Option(help="A trained model, NAME or NAME@VERSION, or local.")
    ] = "local",
    fact: Annotated[
        FactName, typer.Option(help="What local is asked; a trained model has its own.")
    ] = "sentiment",
    text: TextColumn = "text",
    label: LabelColumn = "label",
    as_json: AsJson = False,
) -> None:
    """Measure an analyser on texts whose labels are known."""
    from looma_cli.runner import settings
    from looma_cli.work.training import evaluated

    name, measures = evaluated(settings(), _read(file, text, label), model, fact)
    _show(measures, {"model": name}, as_json=as_json)


@analyze.command("models")
def models(as_json: AsJson = False) -> None:
    """List the trained models; ANALYZER=trained:NAME lets one judge its fact."""
    from ai_services.enrichment.analysis.trained.registry import CARD, listing, root_of
    from looma_cli.runner import settings
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    root = root_of(settings())
    found = [
        {
            "model": f"{kept.name}@{kept.version}",
            **{key: (kept.said or {}).get(key) for key in ("fact", "labels", "org_id")},
            **(kept.said or {}).get("trained", {}),
            "card": str(kept.folder / CARD),
        }
        for kept in listing(root)
    ]
    if as_json:
        write_json(found)
        return
    if not found:
        say(f"There is none in {root}: looma analyze train LABELED.csv makes one.")
        return
    columns = ("model", "fact", "#labels", "#rows", "#accuracy", "trained", "card")
    rows = [
        (one["model"], one["fact"], len(one["labels"] or ()), one.get("rows"),
         _percent(one.get("accuracy")), one.get("at"), one["card"])
        for one in found
    ]  # fmt: skip
    results().print(table(columns, rows))


def _read(file: Path, text: str, label: str) -> Labelled:
    from ai_services.enrichment.analysis.training.labelled import read_labelled

    return read_labelled(file, text, label)


def _name_of(file: Path) -> str:
    import re

    return re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-_")[:40] or "model"


def _show(measures: Measures, told: dict[str, Any], *, as_json: bool) -> None:
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    figures = {
        "rows": measures.rows,
        "accuracy": measures.accuracy,
        "macro_f1": measures.macro_f1,
        "calibration_error": measures.calibration_error,
    }
    if as_json:
        labels = {
            one.label: {"rows": one.rows, "precision": one.precision, "recall": one.recall,
                        "f1": one.f1}
            for one in measures.of_labels
        }  # fmt: skip
        confusion = [
            {"times": times, "wanted": wanted, "said": said}
            for times, wanted, said in measures.confused
        ]
        write_json({**told, **figures, "labels": labels, "confused": confusion})
        return
    rows = [
        (one.label, one.rows, _percent(one.precision), _percent(one.recall), _percent(one.f1))
        for one in measures.of_labels
    ]
    results().print(table(("label", "#rows", "#precision", "#recall", "#F1"), rows))
    for times, wanted, said in measures.confused[:_CONFUSED]:
        say(f"{times} × {wanted} taken for {said}")
    surety = measures.calibration_error
    say(
        f"{told['model']}: accuracy {_percent(measures.accuracy)}, macro-F1 "
        f"{_percent(measures.macro_f1)}, of {measures.rows:,} rows"
        + ("." if surety is None else f"; its confidence is off by {_percent(surety)} on average.")
    )
    if "card" in told:
        say(f"Its card: {told['card']}. ANALYZER={told['model']} lets it judge.")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
