from __future__ import annotations

from pathlib import Path

import pytest

from tests.ai_services.enrichment.calls_files import Folder, as_csv, call


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "u-2"),
        ("started_at", "2024-03-05T14:21:00+08:00"),
        ("duration_ms", 0),
        ("rounds", 1),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_rows_of_one_callid_that_differ_are_named_by_their_lines(
    folder: Folder, field: str, value: object, batch_rows: int
) -> None:
    data = as_csv([call(), call(callid="x"), call(**{field: value})])
    batches = folder.batches("a.csv", data, batch_rows=batch_rows)
    [note] = [note for batch in batches for note in batch.notes]
    assert (note.line, note.field, note.value) == (4, "callid", "c-1")
    assert "line 2" in note.problem
    if batch_rows > 1:
        assert f"another {field}" in note.problem


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_equal_rows_are_counted_only(folder: Folder, batch_rows: int) -> None:
    data = as_csv([call(), call(callid="x"), call(), call(customer_id="k-2")])
    batches = folder.batches("a.csv", data, batch_rows=batch_rows)
    assert [note for batch in batches for note in batch.notes] == []


def test_each_row_is_told_what_it_contradicts(folder: Folder) -> None:
    calls = [call(rounds=number) for number in (1, 1, 2, 3)]
    batch = folder.read("a.csv", as_csv(calls))
    assert batch.noted == {"callid": 3}
    assert batch.duplicates == 3
    assert batch.after(5).notes == []


@pytest.mark.parametrize("repeated", [1, 2])
def test_of_a_callid_in_all_batches_each_row_is_told_once(folder: Folder, repeated: int) -> None:
    calls = [call(rounds=number // repeated) for number in range(12)]
    batches = folder.batches("a.csv", as_csv(calls), batch_rows=1)
    notes = [note for batch in batches for note in batch.notes]
    assert [note.line for note in notes] == list(range(2 + repeated, 14))
    for note in notes:  # by the last row that differs
        first_of_its_kind = 2 + (note.line - 2) // repeated * repeated
        assert f"line {first_of_its_kind - 1} as well" in note.problem


def test_what_a_row_contradicts_is_found_behind_rows_that_equal_it(folder: Folder) -> None:
    calls = [call(rounds=1), call(rounds=2), call(rounds=2), call(rounds=2), call(callid="x")]
    batches = folder.batches("a.csv", as_csv(calls), batch_rows=1)
    told = {note.line: note.problem for batch in batches for note in batch.notes}
    assert set(told) == {3, 4, 5}
    assert all("line 2 as well" in problem for problem in told.values())
