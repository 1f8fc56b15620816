"""The columns of an export, and a snapshot as a row of them."""

from __future__ import annotations

from typing import Any, Final

import orjson

from ai_services.portrait.figures import COUNTS
from shared.data_access.ports import Row

SUMS: Final = ("total_duration", "sentiment_score_sum")
DERIVED: Final = ("connect_rate", "avg_duration", "avg_rounds", "avg_sentiment_score")
DATES: Final = ("period_start", "period_end")
# Behind the subject's id, whose name differs.
COLUMNS: Final = (
    "period_key", *DATES, *COUNTS, *SUMS, *DERIVED, "fail_reason_dist", "computed_at",
)  # fmt: skip


def values(row: Row, subject: str) -> list[Any]:
    """As PostgreSQL has them; fail reasons as JSON."""
    cells = {**row, "fail_reason_dist": orjson.dumps(row["fail_reason_dist"]).decode()}
    return [cells[subject], *(cells[column] for column in COLUMNS)]


def harmless(text: str) -> str:
    """A text that a spreadsheet takes for a formula, written so that it doesn't (OWASP)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
