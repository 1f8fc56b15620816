"""Fields are the figures of a portrait: the same values, within what is promised of them."""

from __future__ import annotations

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.dimension import DIMENSIONS, USER
from ai_services.portrait.figures import Figures
from ai_services.portrait.metrics import METRICS
from ai_services.portrait.segments.fields import FIELDS
from tests.ai_services.portrait.calls import Organisation
from tests.ai_services.portrait.test_portrait_api import CALLS


def test_every_metric_is_a_field() -> None:
    for whose in DIMENSIONS:
        assert set(METRICS) < set(FIELDS[whose].schema.named)
        assert set(FIELDS[whose].sql) == set(FIELDS[whose].schema.named)


async def test_a_field_has_the_value_of_its_metric(organisation: Organisation) -> None:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    fields = FIELDS[USER]
    listed = ", ".join(f'({text}) AS "{name}_value"' for name, text in fields.sql.items())
    async with organisation.db.tenant(organisation.org_id) as tx:
        rows = await tx.fetch(f"SELECT s.*, {listed} FROM {USER.snapshots} s")
    assert rows
    for row in rows:
        figures = Figures.of(row)
        for name, value_of in METRICS.items():
            value = row[f"{name}_value"]
            assert value_of(figures) == (None if value is None else float(value)), name
        for name, field in fields.schema.named.items():
            value, bounds = row[f"{name}_value"], field.numbers
            assert value is not None or field.nullable
            if field.type in ("int", "float") and value:
                assert bounds.low <= value <= bounds.high
                assert abs(value) >= bounds.tiny
