"""Models are kept version by version, and what was not kept so is refused."""

from __future__ import annotations

import io
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from ai_services.enrichment.analysis.trained.model import Block, TrainedModel
from ai_services.enrichment.analysis.trained.ngrams import words
from ai_services.enrichment.analysis.trained.registry import listing, load, save
from shared.errors import ConfigError, NotFound


def model(name: str = "topics", **changes: Any) -> TrainedModel:
    """Says `refund` of refunds."""
    vocabulary = np.unique(words("refund"))
    block = Block("words", vocabulary, np.ones(len(vocabulary), np.float32))
    weights = np.zeros((len(vocabulary), 2), np.float32)
    weights[:, 1] = 3
    given: dict[str, Any] = {
        "fact": "topic", "labels": ("other", "refund"), "weights": weights,
        "bias": np.array([1, 0], np.float32), "temperature": 0.5, "org_id": None,
        "trained": {"rows": 7},
    }  # fmt: skip
    return TrainedModel(name=name, version=0, blocks=(block,), **{**given, **changes})


def test_every_training_is_another_version(tmp_path: Path) -> None:
    for _ in range(3):
        save(tmp_path, model(), {"card.md": b"# card"})
    save(tmp_path, model("a-other", org_id=UUID(int=7)), {})
    assert [(one.name, one.version) for one in listing(tmp_path)] == [
        ("a-other", 1), ("topics", 3), ("topics", 2), ("topics", 1),
    ]  # fmt: skip
    assert load(tmp_path, "topics").version == 3
    assert load(tmp_path, "topics@2").version == 2
    assert load(tmp_path, "a-other").org_id == UUID(int=7)
    assert load(tmp_path, "topics").label("a refund").label == "refund"
    assert (tmp_path / "topics" / "2" / "card.md").read_bytes() == b"# card"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_those_who_save_at_once_get_versions_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: save(tmp_path, model(), {}).version, range(8)))
    assert sorted(kept) == list(range(1, 9))


@pytest.mark.parametrize(
    "reference", ["none", "topics@9", "../topics", "topics/1", "topics@0", "", "TOPICS", "topics@"]
)
def test_what_was_never_saved_is_not_found(tmp_path: Path, reference: str) -> None:
    save(tmp_path, model(), {})
    with pytest.raises(NotFound, match="topics@1"):
        load(tmp_path, reference)
    assert list(listing(tmp_path / "nowhere")) == []


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("/tmp/evil"),)  # type: ignore[return-value]


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (b"", {}),
        (b"PK no zip", {}),
        (pickle.dumps({"weights": 1}), {}),
        (None, {"sha256": "0" * 64}),
        (None, {"labels": ["a", "b", "c"]}),
        (None, {"labels": ["a"]}),
        (None, {"labels": [1, 2]}),
        (None, {"fact": "price"}),
        (None, {"fact": "sentiment"}),
        (None, {"format": 2}),
        (None, {"ngrams": "ngrams/0"}),
        (None, {"temperature": 0}),
        (None, {"families": []}),
        (None, {"families": ["eval"]}),
        (None, {"org_id": "nobody"}),
    ],
)
def test_files_that_were_not_saved_so_are_refused(
    tmp_path: Path, weights: bytes | None, said: dict[str, Any]
) -> None:
    save(tmp_path, model(), {})
    folder = tmp_path / "topics" / "1"
    if weights is not None:
        (folder / "weights.npz").write_bytes(weights)
    document = json.loads((folder / "model.json").read_text())
    if weights is not None:
        import hashlib

        document["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "model.json").write_text(json.dumps(document | said))
    with pytest.raises(ConfigError, match="looma analyze train"):
        load(tmp_path, "topics")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    save(tmp_path, model(), {})
    folder = tmp_path / "topics" / "1"
    good = dict(np.load(folder / "weights.npz"))
    packed = _npz(**{**good, "bias": np.array([Evil(), Evil()], dtype=object)})
    (folder / "weights.npz").write_bytes(packed)
    document = json.loads((folder / "model.json").read_text())
    import hashlib

    document["sha256"] = hashlib.sha256(packed).hexdigest()
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError):
        load(tmp_path, "topics")
    assert not Path("/tmp/evil").exists()
