"""What is wrong with labelled texts is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_services.enrichment.analysis.training.labelled import check_trainable, read_labelled
from shared.errors import InvalidInput
from tests.ai_services.enrichment.analysis.training.rows import labelled, write_csv


def test_a_file_is_read_by_its_columns(tmp_path: Path) -> None:
    rows = labelled()
    found = read_labelled(write_csv(tmp_path / "rows.csv", rows, "said", "what"), "said", "what")
    assert (found.texts, found.labels, found.digest) == (rows.texts, rows.labels, rows.digest)
    assert found.names == ("card", "delivery", "refund")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "no column 'text'; it has none"),
        (b"words,label\na,b\n", "no column 'text'; it has words, label. Name it by --text"),
        (b"text,kind\na,b\n", "--label"),
        (b"text,label\na,x\n ,x\nb,\n", "line 3, 4"),
        (b"text,label\na\n", "line 2"),
        (b"text,label\n\xd6,x\n", "UTF-8"),
        (b'text,label\n"a,x\n', "CSV"),
        (b"text,label\na," + b"x" * 201 + b"\n", "line 2"),
    ],
)
def test_a_file_that_cant_be_used_is_refused_by_what_is_wrong(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        read_labelled(path)
    assert said in refused.value.message


def test_what_no_model_can_be_made_of_is_refused() -> None:
    for rows, fact, folds, said in (
        (labelled(labels=1), "topic", 3, "only one: 'refund'"),
        (labelled(each=1), "topic", 5, "fewer have card (3), delivery (3), refund (3)"),
        (labelled(), "sentiment", 3, "positive, neutral, negative, and not card, delivery"),
    ):
        with pytest.raises(InvalidInput) as refused:
            check_trainable(rows, fact, folds)  # type: ignore[arg-type]
        assert said in refused.value.message
