"""Texts with their labels, as a CSV file has them, checked before anything is trained or measured."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ai_services.enrichment.analysis.trained.model import LABELS, Fact
from shared.errors import InvalidInput

_MOST_CHARS: Final = 200
_SHOWN: Final = 5  # of what is wrong


@dataclass(frozen=True, slots=True)
class Labelled:
    """`source` says where they are from, `digest` is of their content."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    source: str
    digest: str

    @classmethod
    def of(cls, texts: Sequence[str], labels: Sequence[str], source: str) -> Labelled:
        digest = hashlib.sha256()
        for text, label in zip(texts, labels, strict=True):
            digest.update(f"{len(text)}:{text}{len(label)}:{label}".encode())
        return cls(tuple(texts), tuple(labels), source, digest.hexdigest())

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that there are, in order."""
        return tuple(sorted(set(self.labels)))


def read_labelled(path: Path, text: str = "text", label: str = "label") -> Labelled:
    """Of a CSV file with a header. InvalidInput says what is wrong with it, and where."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _rows(csv.DictReader(file, strict=True), path, text, label)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file.") from None
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8: save it as that ({error.reason}).") from error
    except csv.Error as error:
        raise InvalidInput(f"{path} is no CSV file: {error}.") from error
    return Labelled.of([one[0] for one in rows], [one[1] for one in rows], path.name)


def check_trainable(labelled: Labelled, fact: Fact, folds: int) -> None:
    """InvalidInput where no model can be made of them, or none that could be measured."""
    counts = Counter(labelled.labels)
    if len(counts) < 2:
        only = f"there is only one: {next(iter(counts))!r}" if counts else "there is no row"
        raise InvalidInput(f"A model tells at least two labels apart, and {only}.")
    if unknown := sorted(counts.keys() - set(LABELS.get(fact, counts))):
        raise InvalidInput(
            f"{fact} has the labels {', '.join(LABELS[fact])}, and not {_named(unknown)}."
        )
    few = [f"{name} ({count})" for name, count in sorted(counts.items()) if count < folds]
    if few:
        raise InvalidInput(
            f"{folds} folds need {folds} rows of each label; fewer have {_named(few)}. "
            "Add rows, leave these labels out, or take fewer --folds."
        )


def _rows(reader: csv.DictReader[Any], path: Path, text: str, label: str) -> list[tuple[str, str]]:
    columns = reader.fieldnames or []
    for option, name in (("--text", text), ("--label", label)):
        if name not in columns:
            there = ", ".join(columns) or "none: the file is empty"
            raise InvalidInput(
                f"{path} has no column {name!r}; it has {there}. Name it by {option}."
            )
    rows, empty = [], []
    for row in reader:
        said, name = (row[text] or "").strip(), (row[label] or "").strip()
        if not said or not name:
            empty.append(str(reader.line_num))
        elif len(name) > _MOST_CHARS:
            raise InvalidInput(f"{path}, line {reader.line_num}: the label is no name.")
        rows.append((said, name))
    if empty:
        raise InvalidInput(
            f"{path}: there is no text, or no label, in line {_named(empty)}. Fill or delete them."
        )
    return rows


def _named(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
