"""Where trained models are kept: a folder of each name, in it one of each version.

`model.json` says what it is, `weights.npz` has its numbers, `card.md` and pictures are for people. No file
can run code when it is read: the arrays are plain ones, and are refused if they don't fit what the JSON
says, or aren't those that were written with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ai_services.enrichment.analysis.trained import embedding, ngrams
from ai_services.enrichment.analysis.trained.model import (
    LABELS,
    Block,
    Fact,
    Meaning,
    TrainedModel,
)
from shared.config import Config
from shared.errors import ConfigError, NotFound

CARD: Final = "card.md"
_FORMAT: Final = 1
_MODEL: Final = "model.json"
_WEIGHTS: Final = "weights.npz"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_REFERENCE: Final = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<version>[1-9][0-9]{{0,5}}))?")
_MOST_BYTES: Final = 1 << 30  # of an array


@dataclass(frozen=True, slots=True)
class Kept:
    """A version of a model, and what its JSON says; None where that can't be read."""

    name: str
    version: int
    folder: Path
    said: Mapping[str, Any] | None


def root_of(config: Config) -> Path:
    """Where the models of these settings are."""
    return config.trained_models or config.home / "trained"


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def listing(root: Path) -> Iterator[Kept]:
    """By name, the newest version first."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        for version in _versions(folder) if is_name(folder.name) else ():
            path = folder / str(version)
            try:
                said = json.loads((path / _MODEL).read_bytes())
            except (OSError, ValueError):
                said = None
            yield Kept(folder.name, version, path, said if isinstance(said, dict) else None)


def save(root: Path, model: TrainedModel, papers: Mapping[str, bytes]) -> TrainedModel:
    """As the next version of its name, whole or not at all; `papers` are files for people."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root))
    try:
        weights = _packed(model)
        (draft / _WEIGHTS).write_bytes(weights)
        for name, content in papers.items():
            (draft / name).write_bytes(content)
        return _placed(root, draft, model, hashlib.sha256(weights).hexdigest())
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(root: Path, reference: str) -> TrainedModel:
    """`NAME`, its newest version, or `NAME@VERSION`.

    NotFound where there is none; ConfigError for files that are not what was saved.
    """
    asked = _REFERENCE.fullmatch(reference)
    versions = _versions(root / asked["name"]) if asked else []
    if asked is None or (asked["version"] and int(asked["version"]) not in versions):
        versions = []
    if asked is None or not versions:
        known = ", ".join(f"{one.name}@{one.version}" for one in listing(root)) or "none"
        raise NotFound(f"There is no trained model {reference!r} in {root}; there is {known}.")
    version = int(asked["version"] or versions[0])
    folder = root / asked["name"] / str(version)
    try:
        return _loaded(folder, asked["name"], version)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{folder}: this trained model can't be used ({error}). Train it again: "
            "looma analyze train"
        ) from error


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = [int(one.name) for one in folder.iterdir() if re.fullmatch(r"[1-9]\d{0,5}", one.name)]
    return sorted(found, reverse=True)


def _placed(root: Path, draft: Path, model: TrainedModel, digest: str) -> TrainedModel:
    """A folder takes its place in one step; where another was quicker, the place after it."""
    folder = root / model.name
    folder.mkdir(exist_ok=True, mode=0o700)
    version = next(iter(_versions(folder)), 0)
    while True:
        version += 1
        said = json.dumps(_said(model, version, digest), ensure_ascii=False, indent=2)
        (draft / _MODEL).write_text(said + "\n", encoding="utf-8")
        try:
            draft.rename(folder / str(version))
        except OSError:
            if not (folder / str(version)).exists():
                raise
            continue
        return replace(model, version=version)


def _said(model: TrainedModel, version: int, digest: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "ngrams": ngrams.VERSION,
        "name": model.name,
        "version": version,
        "fact": model.fact,
        "labels": list(model.labels),
        "families": [block.family for block in model.blocks],
        "embedding": None if model.meaning is None else embedding.NAME,
        "temperature": model.temperature,
        "org_id": None if model.org_id is None else str(model.org_id),
        "sha256": digest,
        "trained": model.trained,
    }


def _packed(model: TrainedModel) -> bytes:
    """Weights with 11 bits of precision, which no score shows."""
    arrays: dict[str, NDArray[Any]] = {
        "weights": model.weights.astype(np.float16),
        "bias": model.bias.astype(np.float32),
    }
    if model.meaning is not None:
        arrays["meaning_vectors"] = model.meaning.vectors.astype(np.float16)
        arrays["meaning_weights"] = model.meaning.weights.astype(np.float16)
    for block in model.blocks:
        arrays[f"{block.family}_vocabulary"] = block.vocabulary
        arrays[f"{block.family}_idf"] = block.idf.astype(np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _loaded(folder: Path, name: str, version: int) -> TrainedModel:
    said = json.loads((folder / _MODEL).read_bytes())
    if (said["format"], said["ngrams"]) != (_FORMAT, ngrams.VERSION):
        raise ValueError("another release has made it")
    labels, fact = tuple(said["labels"]), said["fact"]
    if fact not in get_args(Fact) or not all(isinstance(one, str) for one in labels):
        raise ValueError(f"{_MODEL} names no fact and labels of calls")
    if not set(labels) <= set(LABELS.get(fact, labels)) or len(labels) < 2:
        raise ValueError(f"its labels are none of {fact}")
    packed = (folder / _WEIGHTS).read_bytes()
    if hashlib.sha256(packed).hexdigest() != said["sha256"]:
        raise ValueError(f"{_WEIGHTS} is not the one that was written")
    arrays = _unpacked(packed)
    blocks = tuple(
        Block(family, arrays[f"{family}_vocabulary"], arrays[f"{family}_idf"])
        for family in said["families"]
    )
    reads = said.get("embedding")  # models that an earlier release made don't say
    if reads not in (None, embedding.NAME):
        raise ValueError(f"it reads texts by {reads}, which this release hasn't")
    meaning = None
    if reads is not None:
        vectors, of_vectors = arrays["meaning_vectors"], arrays["meaning_weights"]
        meaning = Meaning(vectors.astype(np.float32), of_vectors.astype(np.float32))
    model = TrainedModel(
        name, version, fact, labels, blocks, arrays["weights"].astype(np.float32), arrays["bias"],
        float(said["temperature"]), None if said["org_id"] is None else UUID(said["org_id"]),
        dict(said["trained"]), meaning,
    )  # fmt: skip
    _check(model)
    if meaning is not None:
        embedding.embedding()  # said now, not at the first call
    return model


def _unpacked(packed: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(packed)) as inside:
        if any(one.file_size > _MOST_BYTES for one in inside.infolist()):
            raise ValueError(f"{_WEIGHTS} holds more than a model has")
    with np.load(io.BytesIO(packed), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _check(model: TrainedModel) -> None:
    size = sum(len(block.vocabulary) for block in model.blocks)
    fits = all(
        block.family in ngrams.FAMILIES
        and block.vocabulary.dtype == np.uint64
        and block.vocabulary.shape == block.idf.shape
        and bool(np.all(block.vocabulary[1:] > block.vocabulary[:-1]))
        for block in model.blocks
    )
    shapes: tuple[bool, ...] = (
        model.weights.shape == (size, len(model.labels)),
        model.bias.shape == (len(model.labels),),
    )
    numbers = [model.weights, model.bias]
    if model.meaning is not None:
        rows = len(model.meaning.vectors)
        shapes += (
            model.meaning.vectors.shape == (rows, embedding.DIMENSIONS),
            model.meaning.weights.shape == (rows, len(model.labels)),
        )
        numbers += [model.meaning.vectors, model.meaning.weights]
    finite = all(np.isfinite(one).all() for one in numbers)
    if not (fits and all(shapes) and finite and model.blocks and model.temperature > 0):
        raise ValueError(f"{_WEIGHTS} doesn't fit {_MODEL}")
