"""`python -m tests.chaos [WORD…]`: carry out the drills whose name has these words; print a table."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.drill import Outcome, run
from tests.chaos.drills import COURSES, Course
from tests.chaos.site import Site
from tests.chaos.table import table


@contextmanager
def site_of(course: Course) -> Iterator[Site]:
    """A fresh platform for a course; whatever the drills left of it is ended."""
    # Not in pytest's directory: under root PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="looma-drill-", ignore_cleanup_errors=True) as folder:
        site = Site(Path(folder) / "home", Path(folder), **course.settings)
        try:
            site.begin()
            yield site
        finally:
            site.end()


def say(line: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    outcomes: list[Outcome] = []
    for course in COURSES:
        chosen = [d for d in course.drills if all(word.lower() in d.name.lower() for word in words)]
        if not chosen:
            continue
        say(f"{course.name}: starting a platform")
        with site_of(course) as site:
            for drill in chosen:
                say(f"{drill.name}")
                outcomes.append(asyncio.run(run(site, drill, lambda line: say(f"    {line}"))))
                for line in outcomes[-1].faults():
                    say(f"    WRONG {line}")
                print(table(outcomes[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(outcomes))
    return 0 if all(one.in_time and not one.faults() for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
