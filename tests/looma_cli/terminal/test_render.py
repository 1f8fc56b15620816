"""Bars and tables: what a share looks like, and that data can't draw."""

import io
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ai_services.auth.organisations import Organisation
from looma_cli.stores.organisation import choose
from looma_cli.terminal.render import bars, fraction_bar, shown, table
from shared.errors import InvalidInput, NotFound


def drawn(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    return console.file.getvalue()


@given(st.floats(min_value=-1, max_value=2), st.integers(1, 60))
def test_a_bar_never_leaves_its_width(share: float, width: int) -> None:
    assert len(fraction_bar(share, width)) <= width


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_longer_bar_is_a_larger_share(a: int, b: int) -> None:
    blocks = " ▏▎▍▌▋▊▉█"
    lengths = [sum(blocks.index(c) for c in fraction_bar(n / 1000)) for n in (a, b)]
    assert (lengths[0] <= lengths[1]) or a > b


def test_a_bar_shows_its_share() -> None:
    assert fraction_bar(0.5, 4) == "██"
    assert fraction_bar(1 / 32, 4) == "▏"
    assert fraction_bar(0) == ""


def test_nothing_is_a_dash_not_zero() -> None:
    assert [shown(value) for value in (None, 0, 1234567, 0.125, True)] == [
        "–", "0", "1,234,567", "0.12", "yes",
    ]  # fmt: skip
    assert "–" in drawn(bars("x", {"2024-Q1": None, "2024-Q2": 3}))


def test_data_does_not_draw() -> None:
    assert "[red]x[/red]" in drawn(table(("a",), [("[red]x[/red]",)]))
    assert "[bold]" in drawn(bars("x", {"[bold]": 1}))


def test_shares_of_nothing_are_empty_bars() -> None:
    assert "█" not in drawn(bars("x", {"a": 0, "b": 0}, of=0))


MAIN, DEMO = (
    Organisation(UUID(int=n), slug, slug, "UTC") for n, slug in ((1, "main"), (2, "demo"))
)


def test_the_organisation_named_wins_then_the_only_one_then_the_setting() -> None:
    assert choose([DEMO, MAIN], "demo", "main") is DEMO
    assert choose([DEMO], None, "main") is DEMO
    assert choose([DEMO, MAIN], None, "main") is MAIN


def test_a_guess_is_never_made() -> None:
    with pytest.raises(InvalidInput, match="one of: demo, main"):
        choose([DEMO, MAIN], None, "acme")
    with pytest.raises(NotFound, match="looma up"):
        choose([], None, "main")
    with pytest.raises(NotFound, match="there is demo"):
        choose([DEMO], "main", "main")
