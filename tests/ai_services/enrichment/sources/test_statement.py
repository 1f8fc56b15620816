"""Queries are made of checked names and of parameters."""

from __future__ import annotations

import pytest

from ai_services.enrichment.sources.databases.identifier import is_identifier, quoted
from ai_services.enrichment.sources.databases.statement import (
    Dialect,
    Order,
    PostgresDialect,
    Window,
)
from shared.errors import InvalidInput

HOSTILE = (
    "calls; DROP TABLE calls",
    "calls` WHERE 1=1 -- ",
    'calls" --',
    "calls'",
    "a.b.c",
    "1calls",
    "",
    ".",
    "calls\0",
    "calls\n",
    "call s",
    "x" * 65,
    "calls\\",
)
ORDER = Order(("at", "id"), ("timestamp", "int8"))
WINDOW = Window("at", "timestamp", "2024-12-01", "2024-12-02")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("dialect", [Dialect(), PostgresDialect()], ids=["mysql", "postgresql"])
def test_a_name_that_is_none_goes_into_no_query(dialect: Dialect, name: str) -> None:
    with pytest.raises(InvalidInput):
        dialect.page(name, ["id"], ORDER, WINDOW, None, 10)
    with pytest.raises(InvalidInput):
        dialect.page("calls", [name], ORDER, WINDOW, None, 10)
    with pytest.raises(InvalidInput):
        dialect.page("calls", ["id"], Order((name,), ("text",)), WINDOW, None, 10)
    with pytest.raises(InvalidInput):
        dialect.matching("calls", ["id"], name, ["1"], None)
    with pytest.raises(InvalidInput):
        dialect.count("calls", Window(name, "text", "a", None))


def test_names_are_quoted_and_values_are_parameters() -> None:
    hostile = "'; DROP TABLE calls; --"
    said = Dialect().page("crm.calls", ["id"], ORDER, WINDOW, ("2024-12-01 10:00:00", hostile), 10)
    assert "`crm`.`calls`" in said.text
    assert hostile not in said.text
    assert list(said.values) == [
        "2024-12-01", "2024-12-02", "2024-12-01 10:00:00", "2024-12-01 10:00:00", hostile,
    ]  # fmt: skip
    assert "OFFSET" not in said.text


def test_postgresql_casts_texts_to_the_types_of_its_columns() -> None:
    said = PostgresDialect().page("calls", ["id"], ORDER, WINDOW, ("2024-12-01 10:00:00", "7"), 10)
    assert '"at" >= $1::text::timestamp AND "at" < $2::text::timestamp' in said.text
    assert '"id" > $5::text::int8' in said.text


def test_chinese_names_are_names() -> None:
    assert is_identifier("通话记录")
    assert quoted("通话记录", "`") == "`通话记录`"


def test_whole_numbers_go_to_mysql_as_such() -> None:
    """Two ids of 19 digits are the same to it as texts."""
    order = Order(("id",), ("bigint",))
    said = Dialect().page("calls", ["id"], order, Window("at", "datetime", None, None), ("1899999999999999999",), 9)  # fmt: skip
    assert list(said.values) == [1899999999999999999]
