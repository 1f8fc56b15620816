"""Walks back through time: every match once, in order, in bounded steps, whatever lies where."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from shared.data_access.search.query import NEVER, Position
from shared.data_access.search.walk import EVER, WIDTHS, Near, Pace, Span, level_of, marks, page

HURRIED = Pace(near=3, crowd=2, last_crowd=4, slow_step=-1, patience=-1, first_steps=2)
CALM = Pace(near=3, crowd=2, last_crowd=4, slow_step=60, patience=60)
NOW = int(datetime(2025, 12, 31, tzinfo=UTC).timestamp()) * 1_000_000

_TIMES = st.one_of(
    st.integers(-(2**55), 2**57),
    st.integers(0, 2**30),  # within minutes
    st.integers(0, 3),  # the same moment
    st.just(NEVER),
)


class Documents:
    """A source in memory; `steps` counts what was asked, `read` the most matches read at once."""

    def __init__(self, documents: Sequence[tuple[Position, bool]]) -> None:
        self._documents = sorted(documents, key=lambda document: document[0].order)
        self._found = [place for place, matching in self._documents if matching]
        self.steps = 0
        self.read = 0

    async def near(self, at: int, most: int) -> Near:
        times = [place.at for place, _ in self._documents if place.at <= at][:most]
        return Near(len(times), times[0], times[-1]) if times else Near(0, at, at)

    async def matches(self, span: Span, most: int) -> list[Position]:
        within = [place for place in self._found if Span.around(place.at, span.level) == span]
        return self._read(within[-most:])  # the wrong ones, when there are more

    async def in_order(self, span: Span, after: Position, most: int) -> list[Position]:
        assert Span.around(after.at, span.level) == span
        within = [place for place in self._found if Span.around(place.at, span.level) == span]
        return self._read([place for place in within if after.before(place)][:most])

    def _read(self, rows: list[Position]) -> list[Position]:
        self.steps += 1
        self.read = max(self.read, len(rows))
        return rows


async def walked(source: Documents, limit: int, pace: Pace) -> list[list[Position]]:
    pages, position = [], None
    for _ in range(10_000):
        found, position = await page(source, position, limit, pace)
        assert len(found) <= limit
        pages.append(found)
        if position is None:
            return pages
    raise AssertionError("the pages don't end")


@given(
    st.lists(st.tuples(_TIMES, st.integers(0, 9), st.booleans()), max_size=40),
    st.integers(1, 5),
    st.sampled_from([HURRIED, CALM]),
)
async def test_every_match_is_found_once_and_in_order(drawn, limit, pace):
    documents = {Position(at, str(item)): matching for at, item, matching in drawn}
    source = Documents(list(documents.items()))
    pages = await walked(source, limit, pace)
    found = [place for one in pages for place in one]
    matching = [place for place, matches in documents.items() if matches]
    assert found == sorted(matching, key=lambda place: place.order)


@given(st.lists(st.integers(0, 2**45), min_size=1, max_size=60), st.integers(1, 5))
async def test_a_calm_page_is_full_or_the_last(times, limit):
    documents = [(Position(at, f"{n}"), True) for n, at in enumerate(times)]
    pages = await walked(Documents(documents), limit, CALM)
    assert all(len(one) == limit for one in pages[:-1])


async def test_a_step_reads_no_more_than_a_crowd_however_common_a_word_is():
    documents = [(Position(NOW - n * 50_000_000, f"{n:06}"), True) for n in range(20_000)]
    source = Documents(documents)
    found, _ = await page(source, None, 20)
    assert found == [place for place, _ in documents[:20]]
    assert source.read <= 200
    assert source.steps <= 6


async def test_what_a_word_had_long_ago_is_found_in_a_few_steps():
    """Nothing for ten years, then a crowd: the walk widens over the gap and narrows again."""
    quiet = [(Position(NOW - n * 10**11, f"{n:06}"), False) for n in range(3_000)]
    loud = [(Position(NOW - 4 * 10**14 - n * 10**6, f"x{n:06}"), True) for n in range(5_000)]
    source = Documents(quiet + loud)
    found, _ = await page(source, None, 20, Pace(patience=60, slow_step=60))
    assert found == [place for place, _ in loud[:20]]
    assert source.read <= 200
    assert source.steps <= 40


async def test_a_crowd_of_one_moment_is_read_in_order():
    documents = [(Position(NOW, f"{n:06}"), n % 2 == 0) for n in range(12_000)]
    source = Documents(documents)
    pages = await walked(source, 1000, Pace(patience=60))
    assert [place.id for one in pages for place in one] == [f"{n:06}" for n in range(0, 12_000, 2)]
    assert source.read <= 4_000


@given(_TIMES)
def test_the_marks_of_a_time_are_those_of_the_spans_around_it(at):
    spans = [Span.around(at, level) for level in range(EVER)]
    assert all(span.start <= at < span.start + (1 << WIDTHS[span.level]) for span in spans)
    assert len(set(marks(at))) == EVER
    assert Span.around(at, EVER).start < at


def test_a_level_is_as_wide_as_it_must_be():
    assert [level_of(0), level_of(2**26), level_of(2**26 + 1)] == [0, 0, 1]
    assert [level_of(2**47), level_of(2**47 + 1)] == [EVER - 1, EVER]
