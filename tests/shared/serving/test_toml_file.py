"""What operators are told about a file of theirs that is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field, model_validator

from shared.errors import ConfigError
from shared.serving.toml_file import Table, checked, one_of, read_toml


def _even(value: int) -> int:
    if value % 2:
        raise ValueError
    return value


def _known(name: str) -> str:
    if name == "nobody":
        raise ValueError("nobody is no name. Choose another.")
    return name


class Door(Table):
    width: Annotated[int, AfterValidator(_even)] = Field(2, description="an even number")
    colour: str = one_of(["red", "a.b"], "red")


class House(Table):
    name: Annotated[str, AfterValidator(_known)] = Field(description="a name")
    doors: int = Field(1, ge=0, description="a number of doors")
    windows: dict[str, int] = Field(default_factory=dict, description="sizes by name")
    sides: list[Door] = Field(default_factory=list, description="a list of doors")
    front: Door | None = Field(None, description="a table with fields of colour, width")

    @model_validator(mode="after")
    def _reachable(self) -> House:
        if not self.doors:
            raise ValueError("a house needs a door. Raise doors.")
        return self


def test_a_good_table_is_a_value() -> None:
    read = checked(House, {"name": "x", "front": {"width": 4}}, "f.toml: house 1")
    assert (read.name, read.doors, read.front) == ("x", 1, Door(width=4))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (5, " must be a table."),
        ({}, ": name is missing. It must be a name."),
        ({"nmae": "x"}, ": unknown 'nmae'. Known are doors, front, name, sides, windows."),
        ({"name": 5}, ": name must be a name (it is 5)."),
        ({"name": "x", "doors": "2"}, ": doors must be a number of doors (it is '2')."),
        ({"name": "x", "doors": True}, ": doors must be a number of doors (it is True)."),
        ({"name": "x", "doors": 0}, ": a house needs a door. Raise doors."),
        ({"name": "nobody"}, ": name: nobody is no name. Choose another."),
        ({"name": "x", "windows": {"left": "2"}}, ": windows.left must be sizes by name"),
        ({"name": "x", "sides": [5]}, ": sides must be a list of doors (it is 5)."),
        ({"name": "x", "sides": [{}, {"width": 3}]}, ": sides.1.width must be an even number"),
        ({"name": "x", "sides": [{"w": 3}]}, ": sides: 0: unknown 'w'. Known are colour, width."),
        ({"name": "x", "front": 5}, ": front must be a table with fields of colour, width"),
        ({"name": "x", "front": {"w": 1}}, ": front: unknown 'w'. Known are colour, width."),
        ({"name": "x", "front": {"width": 3}}, ": front.width must be an even number (it is 3)."),
        ({"name": "x", "front": {"colour": "aXb"}}, ": front.colour must be one of red, a.b"),
        ({"name": "x", "front": {"colour": "red\n"}}, ": front.colour must be one of red, a.b"),
    ],
)
def test_a_wrong_one_is_named_with_field_problem_and_fix(table: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(House, table, "f.toml: house 1")
    assert caught.value.message.startswith("f.toml: house 1" + said)
    assert caught.value.__cause__ is caught.value.__context__ is None  # no second telling of values


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(ConfigError) as caught:
        checked(House, {"name": ["x" * 1000]}, "f.toml")
    assert len(caught.value.message) < 200


def test_amounts_are_read_exactly_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text("price = 0.1\nwhole = 3")
    assert read_toml(file, "PRICES", exact=True) == {"price": Decimal("0.1"), "whole": 3}
    assert isinstance(read_toml(file, "PRICES")["price"], float)
