"""A model is trained, measured on what it hasn't seen, and kept as it is."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_services.enrichment.analysis.trained.ngrams import FAMILIES
from ai_services.enrichment.analysis.trained.registry import load, save
from ai_services.enrichment.analysis.training import kernel
from ai_services.enrichment.analysis.training.card import card
from ai_services.enrichment.analysis.training.fitting import Fitted, Training, fit
from ai_services.enrichment.analysis.training.labelled import Labelled
from ai_services.enrichment.analysis.training.measures import measured
from ai_services.enrichment.analysis.training.plots import plots
from shared.errors import InvalidInput
from tests.ai_services.enrichment.analysis.training.rows import TOPICS, labelled

TRAINING = Training("topics", folds=3, meaning=False)


@pytest.fixture(scope="module", params=[False, True], ids=["n-grams", "meaning"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    return fit(labelled(), replace(TRAINING, meaning=request.param))


def test_it_tells_topics_apart_in_both_languages(fitted: Fitted) -> None:
    assert fitted.measures.accuracy >= 0.9
    assert fitted.model.labels == ("card", "delivery", "refund")
    for text, topic in (
        ("Refund my money!", "refund"),
        ("退款退给我", "refund"),
        ("快递送到没", "delivery"),
    ):
        assert fitted.model.label(text).label == topic


def test_it_is_measured_on_rows_that_it_has_not_seen() -> None:
    chance = np.random.default_rng(1)
    words = [f"w{number}" for number in range(400)]
    texts = [" ".join(chance.choice(words, 6)) for _ in range(120)]
    noise = Labelled.of(texts, [str(n % 2) for n in range(120)], "noise")
    found = fit(noise, Training("noise", folds=4, meaning=False))
    assert 0.3 < found.measures.accuracy < 0.7
    seen = [found.model.label(text).label for text in texts]
    assert np.mean([a == b for a, b in zip(seen, noise.labels, strict=True)]) > 0.9


def test_the_same_rows_and_seed_make_the_same_model(fitted: Fitted) -> None:
    again = fit(labelled(), replace(TRAINING, meaning=fitted.model.meaning is not None))
    assert np.array_equal(again.model.weights, fitted.model.weights)
    assert again.of_folds == fitted.of_folds


def test_two_labels_are_enough_and_progress_is_told() -> None:
    heard: list[tuple[int, int]] = []
    found = fit(labelled(labels=2), TRAINING, lambda done, total: heard.append((done, total)))
    assert heard == [(step, 8) for step in range(1, 9)]
    assert found.model.label("parcel delivery").label == "delivery"


def test_what_it_means_tells_words_that_no_row_has(fitted: Fitted) -> None:
    if fitted.model.meaning is None:
        pytest.skip("it reads n-grams alone")
    for text, topic in (("reimburse us", "refund"), ("a package shipping slowly", "delivery")):
        known = replace(fitted.model, meaning=None).probabilities(text)
        read = fitted.model.probabilities(text)
        place = fitted.model.labels.index(topic)
        assert read[place] > known[place]
        assert read[place] == read.max()


def test_of_too_many_rows_no_meaning_is_read() -> None:
    many = kernel.MOST_ROWS + 1
    assert Training("topics").reads_meaning(many - 1)
    assert not Training("topics").reads_meaning(many)
    with pytest.raises(InvalidInput, match="12,001 rows"):
        Training("topics", meaning=True).reads_meaning(many)


def test_what_only_one_row_says_is_not_kept() -> None:
    rows, secret = labelled(), "Xylander Quetzalcoatl"
    with_secret = Labelled.of([*rows.texts, secret], [*rows.labels, "card"], rows.source)
    for block in fit(with_secret, TRAINING).model.blocks:
        if block.family != "parts":
            assert not np.isin(FAMILIES[block.family](secret), block.vocabulary).any()


def test_it_judges_as_before_once_it_is_kept(fitted: Fitted, tmp_path: Path) -> None:
    kept = save(tmp_path, fitted.model, {})
    found = load(tmp_path, "topics")
    assert (found.version, found.analyzer) == (1, "trained:topics@1")
    assert found.trained == fitted.model.trained == kept.trained
    for topic, texts in TOPICS.items():
        for text in texts:
            before, now = fitted.model.probabilities(text), found.probabilities(text)
            assert np.allclose(before, now, atol=0.01)
            assert found.label(text).label == topic


def test_no_text_at_all_has_a_label_and_no_certainty(fitted: Fitted) -> None:
    for text in ("", "…", "\x00", "퀴즈" * 9):
        assert 0 < fitted.model.label(text).confidence < 0.9


def test_the_card_and_its_pictures_say_what_was_measured(fitted: Fitted) -> None:
    page = card(fitted)
    assert f"{fitted.measures.accuracy:.4f}" in page
    assert "rows.csv" in page
    pictures = plots(fitted.measures)
    assert sorted(pictures) == ["calibration.png", "confusion.png", "labels.png"]
    for name, picture in pictures.items():
        assert name in page
        assert picture.startswith(b"\x89PNG")


def test_labels_that_no_font_has_are_numbered_in_pictures() -> None:
    labels = ["退款", "a|b <i>"]
    measures = measured(labels, np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.9, 0.6, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots(measures)["confusion.png"]
    assert measures.confused == [(1, "a|b <i>", "退款")]


def test_measures_are_those_of_the_textbook() -> None:
    wanted, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    found = measured(["a", "b", "c"], wanted, said, np.array([0.95, 0.95, 0.95, 0.5, 0.5, 0.5]))
    assert found.accuracy == pytest.approx(4 / 6, abs=1e-4)
    a, b, c = found.of_labels
    assert (a.precision, a.recall) == (1.0, 0.6667)
    assert (b.precision, b.recall, b.f1) == (0.5, 0.5, 0.5)
    assert (c.precision, c.recall) == (0.5, 1.0)
    assert found.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3, abs=1e-3)
    assert found.calibration_error == pytest.approx(
        (0.95 - 2 / 3) / 2 + (2 / 3 - 0.5) / 2, abs=1e-3
    )
