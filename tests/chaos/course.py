"""The drills of one course, one after the other on a platform made for them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.chaos.drill import Outcome, Say, run
from tests.chaos.drills import Course
from tests.chaos.postgres_pair import postgres_pair
from tests.chaos.site import Site


async def carry_out(
    course: Course, say: Say, *, words: Sequence[str] = (), before_s: float = 3.0
) -> AsyncIterator[Outcome]:
    """Each drill whose name, with its course's, has all these words; `say` hears how it goes."""
    chosen = [
        drill
        for drill in course.drills
        if all(word.lower() in f"{course.name} {drill.name}".lower() for word in words)
    ]
    if not chosen:
        return
    say(f"{course.name}: starting a platform for {len(chosen)} drills")
    async with site_of(course) as site:
        for drill in chosen:
            say(drill.name)
            outcome = await run(site, drill, lambda line: say(f"    {line}"), before_s)
            for line in outcome.told():
                say(f"    {line}")
            yield outcome


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
            await asyncio.to_thread(site.found)
            yield site
        finally:
            await asyncio.to_thread(site.raze)
