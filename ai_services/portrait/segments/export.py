"""The members of a segment as CSV (RFC 4180), sent page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

from ai_services.portrait.segments import service
from ai_services.portrait.segments.definition import Segment
from ai_services.portrait.state import Stores
from shared.data_access.ports import Row
from shared.serving.service import Call
from shared.wire import REQUEST_ID_HEADER

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for one


async def send_csv(call: Call[Stores], segment: Segment) -> Any:
    """Answers by itself; who enters or leaves meanwhile may be in it or not."""
    response: Any = await call.request.respond(
        headers={
            REQUEST_ID_HEADER: call.request_id,
            "content-disposition": f'attachment; filename="segment-{segment.name}.csv"',
        },
        content_type="text/csv; charset=utf-8",
    )
    column = segment.definition.whose.column
    await response.send(_lines([[column, "since", "period_key"]]))
    async for page in service.all_members(call.state.relational, call.org_id, segment):
        await response.send(_lines(_cells(row, segment) for row in page))
    await response.eof()
    return response


def _cells(row: Row, segment: Segment) -> list[str]:
    return [_harmless(row["subject"]), row["since"].isoformat(), segment.period_key or ""]


def _harmless(text: str) -> str:
    """With an apostrophe before it, a spreadsheet shows a text instead of computing it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Iterable[list[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()
