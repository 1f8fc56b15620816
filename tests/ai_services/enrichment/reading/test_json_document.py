"""JSON that is no JSON Lines: arrays, objects with an array in them, objects over several lines."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.reading.content.lines import Block, ByteStream, Cut, LongLine
from ai_services.enrichment.reading.content.recoded import Unmarked
from ai_services.enrichment.reading.file_format import FileRefused
from ai_services.enrichment.reading.json_document import Place, document_events, find_calls
from tests.ai_services.enrichment.calls_files import TURNS, Folder, as_jsonl, call

CALLS = [call(callid=f"c-{at}", turns=TURNS) for at in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def dumped(document: Any, **options: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, **options).encode()


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "upload", "a.json.gz"])
@pytest.mark.parametrize(
    "options", [{}, {"indent": 2}, {"indent": "\t"}, {"separators": (",", ":")}]
)
@pytest.mark.parametrize(
    ("document", "path"),
    [
        (CALLS, ""),
        ({"records": CALLS}, "records"),
        (
            {"code": 0, "msg": "ok [{", "data": {"total": 3, "list": CALLS, "page": [1]}},
            "data.list",
        ),
        ({"errors": [], "pages": [1, 2], "calls": CALLS, "next": None}, "calls"),
    ],
)
def test_the_calls_of_a_document_are_read(
    folder: Folder, name: str, options: dict[str, Any], document: Any, path: str
) -> None:
    batch = folder.read(name, dumped(document, **options) + b"\n")
    assert batch.frame["callid"].to_list() == ["c-0", "c-1", "c-2"]
    assert batch.frame["line"].to_list() == [1, 2, 3]
    assert [json.loads(turns) for turns in batch.frame["turns"]] == [TURNS] * 3
    assert batch.rejects == []
    assert [path in note for note in batch.warnings] == ([True] if path else [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_a_document_in_another_encoding(folder: Folder, encoding: str) -> None:
    data = dumped({"records": CALLS}, indent=1).decode().encode(encoding)
    assert folder.read("a.json", data).frame.height == 3


def test_objects_over_several_lines_one_after_another(folder: Folder) -> None:
    data = b"\n".join(dumped(one, indent=2) for one in CALLS)
    for content in (data, data.replace(b"\n", b"\r\n"), data + b"\x1a"):
        batch = folder.read("a.jsonl", content)
        assert batch.frame["callid"].to_list() == ["c-0", "c-1", "c-2"]
        assert batch.rejects == []


@pytest.mark.parametrize("between", [b"", b" ", b",", b",\n", b", \r\n"])
def test_objects_in_one_line_or_with_commas_between(folder: Folder, between: bytes) -> None:
    data = between.join(map(dumped, CALLS)) + between.strip(b" ")
    batch = folder.read("a.jsonl", data)
    assert batch.frame["callid"].to_list() == ["c-0", "c-1", "c-2"]
    assert batch.rejects == []


@pytest.mark.parametrize("between", [b"\n", b"", b",", b"\r\n\r\n"])
def test_arrays_one_after_another(folder: Folder, between: bytes) -> None:
    pages = [dumped(CALLS[:1], indent=1), b"[]", dumped(CALLS[1:])]
    batch = folder.read("a.json", between.join(pages) + b"\n")
    assert batch.frame["callid"].to_list() == ["c-0", "c-1", "c-2"]
    assert batch.frame["line"].to_list() == [1, 2, 3]
    assert (batch.rejects, batch.cut) == ([], False)


def test_what_follows_an_array_is_told(folder: Folder) -> None:
    batch = folder.read("a.json", dumped(CALLS) + b"\n;alert(1)")
    assert batch.frame.height == 3
    assert [reject.line for reject in batch.rejects] == [4]
    cut = folder.read("a.json", dumped(CALLS[:1]) + b"\n" + dumped(CALLS[1:])[:-1])
    assert (cut.frame.height, cut.cut) == (3, True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_a_mark_for_what_was_lost_elsewhere_is_a_character(folder: Folder, encoding: str) -> None:
    said = [{"role": "customer", "at_ms": None, "text": "a\ufffdb 您好，我要退款"}]
    rows = [call(callid="\ufffd", turns=said), call(turns=said)]
    texts = (
        dumped(rows).decode(),
        dumped({"a": "\ufffd", "calls": rows}).decode(),
        as_jsonl(rows).decode(),
    )
    for text in texts:
        batch = folder.read("a.json", text.encode(encoding))
        assert batch.rejects == []
        assert batch.frame["callid"].to_list() == ["\ufffd", "c-1"]


def test_json_lines_stay_json_lines(folder: Folder) -> None:
    lines = as_jsonl(CALLS)
    assert folder.read("a.json", lines).frame["line"].to_list() == [1, 2, 3]
    broken = b'{"callid": "x", "turns": [\n' + lines
    batch = folder.read("a.jsonl", broken)
    assert [one.line for one in batch.rejects] == [1]
    assert batch.frame["line"].to_list() == [2, 3, 4]


def test_a_bad_record_is_refused_by_itself_with_its_number(folder: Folder) -> None:
    first, second, third = (dumped(one, indent=1) for one in CALLS)
    second = second.replace(b'"c-1"', b'"c-\xff"')
    data = b"[" + first + b"," + second + b',\n"no call", 7, [], {"callid": 1e}, ' + third + b"]"
    batch = folder.read("a.json", data)
    assert batch.frame["line"].to_list() == [1, 7]
    assert [one.line for one in batch.rejects] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("end", [40, 4])
def test_a_document_that_ends_too_soon_gives_what_came_before(folder: Folder, end: int) -> None:
    data = dumped({"records": CALLS}, indent=2)
    batch = folder.read("a.json", data[:-end])
    assert batch.cut
    assert batch.frame.height == (2 if end == 40 else 3)
    assert "cut off" in batch.rejects[-1].problem


def test_an_empty_array_is_no_calls(folder: Folder) -> None:
    batch = folder.read("a.json", b"[ ]\n")
    assert (batch.frame.height, batch.rejects) == (0, [])


def test_an_object_without_calls_lacks_them(folder: Folder) -> None:
    with pytest.raises(FileRefused, match="lacks 'callid'"):
        folder.read("a.json", dumped({"version": 1, "items": {"a": 1}}, indent=2))


def test_a_record_over_the_limit_is_passed_over(folder: Folder) -> None:
    long = call(callid="long", turns=[{"role": "agent", "at_ms": 0, "text": "x" * 5_000}])
    data = dumped([CALLS[0], long, CALLS[1]], indent=1)
    batch = folder.read("a.json", data, max_line_bytes=3_000)
    assert batch.frame["line"].to_list() == [1, 3]
    (reject,) = batch.rejects
    assert (reject.line, "more than 3,000" in reject.problem) == (2, True)


def test_a_text_that_never_ends_is_not_read_into_memory() -> None:
    stream = ByteStream(io.BytesIO(b'[{"a": "' + b"x" * (4 << 20)), gzipped=False)
    events = list(
        document_events(Unmarked(stream, 1), Place(1, (), in_array=True), 1 << 16, 1 << 18)
    )
    assert [type(event) for event in events] == [Cut]
    assert stream.position < 2 << 20


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


class _Dribble(io.BytesIO):
    """A file that gives little at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size) if size and size > 0 else 7)


@given(st.lists(values, max_size=8), st.sampled_from([None, 1]), st.booleans())
def test_what_json_writes_is_cut_into_its_items(
    items: list[Any], indent: int | None, inside: bool
) -> None:
    wrapped = {"more": [1, {"a": "}"}], "records": [{"a": 1}, *items]}
    data = dumped(wrapped if inside else [{"a": 1}, *items], indent=indent)
    data = data.decode(errors="replace").encode()
    place = find_calls(data, {"callid"})
    assert place is not None
    stream = Unmarked(ByteStream(_Dribble(data), gzipped=False), place.start)
    events = list(document_events(stream, place, 50, 1 << 20))
    assert not any(isinstance(event, Cut | LongLine) for event in events)
    blocks = [event for event in events if isinstance(event, Block)]
    lines = [line for block in blocks for line in block.data.split(b"\n")]
    assert list(map(json.loads, lines)) == [{"a": 1}, *items]
    assert [block.first_line for block in blocks][:1] == [1]


def test_many_records_come_in_bounded_batches(folder: Folder) -> None:
    calls = [call(callid=f"c-{at}") for at in range(9_000)]
    data = gzip.compress(dumped({"data": calls}, indent=1))
    path = folder.path / "a.json"
    path.write_bytes(data)
    batches = folder.batches("a.json", data, batch_rows=1_000)
    assert len(batches) >= 9
    assert sum(batch.frame.height for batch in batches) == 9_000
    assert batches[-1].frame["line"][-1] == 9_000
