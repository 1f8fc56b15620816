"""Rows on their way: which call a row is a leg of, and how its leg is known when it comes again.

A row whose group cell is empty is a call by itself, under its own callid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from ai_services.enrichment.validation.record import FRAME_SCHEMA

# What is read beside a call record's fields where a column map has `group_by` and `leg_id`.
GROUP: Final = "call_group"
LEG_ID: Final = "leg_id"
_OWN: Final = "own_id"

# FRAME_SCHEMA with `callid` the call's; `own_id` the row's, and `leg_id` what tells its leg apart from
# others of the same `own_id`, as they stand in the file.
LEG_SCHEMA: Final[Mapping[str, pl.DataType]] = {
    **FRAME_SCHEMA,
    _OWN: pl.String(),
    LEG_ID: pl.String(),
}


def under_their_calls(cells: pl.DataFrame) -> pl.DataFrame:
    """Cells whose `callid` is the call's, before they are checked; the row's own becomes `own_id`."""
    if "callid" not in cells.columns:
        return cells
    own = pl.col("callid").cast(pl.String).str.strip_chars()
    if GROUP not in cells.columns:  # rows of one call have one callid
        return cells.with_columns(own.alias(_OWN))
    group = pl.col(GROUP).cast(pl.String).str.strip_chars()
    call = pl.when(group != "").then(group).otherwise(own)
    return cells.with_columns(call.alias("callid"), own.alias(_OWN))


def with_leg_ids(checked: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Checked rows, by LEG_SCHEMA. `cells` are those that were checked."""
    told = [name for name in (_OWN, LEG_ID) if name in cells.columns]
    texts = [pl.col(name).cast(pl.String).str.strip_chars() for name in told]
    extra = cells.select(pl.col("line").cast(pl.UInt64), *texts)
    rows = checked.join(extra, on="line", how="left", maintain_order="left")
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in LEG_SCHEMA.items()
        if name not in rows.columns
    ]
    return rows.with_columns(missing).select(LEG_SCHEMA.keys())


def is_of_legs(rows: pl.DataFrame) -> bool:
    """Whether they are by LEG_SCHEMA."""
    return _OWN in rows.columns
