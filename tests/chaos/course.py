"""A platform for the drills of one course, from nothing to nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.chaos.drills import Course
from tests.chaos.postgres_pair import postgres_pair
from tests.chaos.site import Site


@asynccontextmanager
async def site_of(course: Course) -> AsyncIterator[Site]:
    """A fresh platform; whatever the drills leave of it is ended."""
    async with AsyncExitStack() as stack:
        # Not in pytest's directory: under root PostgreSQL runs as another user.
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="looma-drill-", ignore_cleanup_errors=True)
        )
        folder, settings, pair = Path(name), dict(course.settings), None
        if course.pair:
            pair = await stack.enter_async_context(postgres_pair(folder / "pair"))
            settings["DATABASE_URL"] = pair.url
        site = Site(folder / "home", folder, **settings)
        site.pair = pair
        try:
            await asyncio.to_thread(site.begin)
            yield site
        finally:
            await asyncio.to_thread(site.end)
