"""What `looma` offers is what its documentation says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from looma_cli.main import app

_PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
_GROUPS = {group.name for group in app.registered_groups}


def offered() -> Iterator[str]:
    """`import`, `keys create`, …: every command that `looma --help` leads to."""
    looma = typer.main.get_command(app)
    assert isinstance(looma, TyperGroup)
    for name, command in looma.commands.items():
        if isinstance(command, TyperGroup):
            yield from (f"{name} {inner}" for inner in command.commands)
        elif not command.hidden:
            yield name


def documented() -> Iterator[str]:
    """The same of the table of commands: `looma keys create\\|list` stands for two."""
    rows = re.findall(r"^\| (`looma .+?) \| [^|]+ \|$", _PAGE.read_text(), re.MULTILINE)
    for command in re.findall(r"`looma ([^`]+)`", " ".join(rows)):
        name, _, rest = command.partition(" ")
        if name in _GROUPS:
            inner = rest.strip("[]").split(" ")[0]
            yield from (f"{name} {one}" for one in inner.split("\\|") if one[0] != "-")
        else:
            yield name


def test_every_command_is_documented_and_nothing_else() -> None:
    assert sorted(set(documented())) == sorted(offered())
