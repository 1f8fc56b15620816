"""Server-sent events, however their bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.protocol.sse import DONE, Event, EventReader, written
from shared.errors import UpstreamError
from tests.ai_services.llm.protocol.values import CUTS, TEXTS, cut

DATA = TEXTS.map(lambda text: text.replace("\r", "")).filter(bool)
END = st.sampled_from(["\n", "\r\n", "\r"])


def read(*chunks: bytes) -> list[Event]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.end()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [Event("a"), Event("b")]),
        (b"data:a\r\n\r\ndata: b\r\n\r\n", [Event("a"), Event("b")]),
        (b"data: a\rdata: b\r\r", [Event("a\nb")]),
        (b"data:  a\n\n", [Event(" a")]),
        (b"data\n\n", [Event("")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b": comment\n\ndata: a\n: in it\ndata: b\n\n", [Event("a\nb")]),
        (b"event: error\nid: 5\nretry: 1\nfoo: bar\ndata: a\n\n", [Event("a", "error")]),
        (b"event: x\n\ndata: a\n\n", [Event("a")]),
        (b"data: a\n\ndata: b\n", [Event("a"), Event("b")]),
        (b"data: a\n\ndata: [DONE]", [Event("a"), Event("[DONE]")]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_a_stream_is_its_events(stream: bytes, events: list[Event]) -> None:
    assert read(stream) == events
    assert read(*(bytes([byte]) for byte in stream)) == events


def test_an_event_is_given_as_soon_as_it_ends() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b") == [Event("a")]
    assert reader.feed(b"\r") == []
    assert reader.feed(b"\n") == []
    assert reader.feed(b"\r") == [Event("b")]
    assert reader.end() == []


@given(st.lists(DATA, min_size=1, max_size=5), END, CUTS)
def test_any_cutting_gives_the_same_events(texts: list[str], end: str, places: list[int]) -> None:
    stream = b"".join(b": a comment\n\n" + written(text) for text in texts) + DONE
    stream = stream.replace(b"\n", end.encode())
    assert read(*cut(stream, places)) == [*map(Event, texts), Event("[DONE]")]


@given(st.binary(max_size=60) | st.text("da:\r\n x").map(str.encode), CUTS)
def test_any_bytes_end_alike_however_they_are_cut(stream: bytes, places: list[int]) -> None:
    def ended(*chunks: bytes) -> object:
        try:
            return read(*chunks)
        except UpstreamError as error:
            return error.message

    assert ended(stream) == ended(*cut(stream, places))


def test_broken_utf_8_is_an_error_and_a_character_in_pieces_is_none() -> None:
    with pytest.raises(UpstreamError, match="no UTF-8"):
        read(b"data: \xff\n\n")
    assert read(b"data: \xe4", b"\xbd\xa0\n\n") == [Event("你")]


def test_lines_and_events_are_bounded() -> None:
    reader = EventReader(longest=100)
    with pytest.raises(UpstreamError, match="more than 100 bytes"):
        [reader.feed(b"x" * 10) for _ in range(11)]
    reader = EventReader(longest=100)
    with pytest.raises(UpstreamError, match="more than 100 characters"):
        [reader.feed(b"data: 12345\n") for _ in range(20)]
    assert EventReader(longest=100).feed(b"data: 12345\n\n" * 30) == [Event("12345")] * 30


def test_what_is_written_is_read_again() -> None:
    assert written("a\r\nb\rc\nd", "error") == (
        b"event: error\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    )
    assert read(written("a\nb", "error")) == [Event("a\nb", "error")]
    assert read(DONE)[0].is_done
    assert not Event("done").is_done
