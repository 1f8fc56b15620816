"""`python -m tests.chaos [WORD…]`: the drills whose names have these words, then a table of them.

Exit code 1 if one of them showed a fault, or an outage longer than what is promised.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.chaos.course import site_of
from tests.chaos.drill import Outcome, run
from tests.chaos.drills import COURSES
from tests.chaos.table import table


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


async def carry_out(words: list[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for course in COURSES:
        chosen = [d for d in course.drills if all(word.lower() in d.name.lower() for word in words)]
        if not chosen:
            continue
        say(f"{course.name}: starting a platform for {len(chosen)} drills")
        async with site_of(course) as site:
            for drill in chosen:
                say(drill.name)
                outcome = await run(site, drill, lambda line: say(f"    {line}"))
                outcomes.append(outcome)
                say("    " + verdict(outcome))
    return outcomes


def verdict(outcome: Outcome) -> str:
    found = outcome.faults()
    late = "" if outcome.in_time else ", LATE"
    line = f"outage {outcome.longest:.1f} s{late}; {outcome.failed} of {outcome.requests} failed"
    return "\n    ".join([line, *(f"WRONG {text}" for text in found)])


def main(words: list[str]) -> int:
    outcomes = asyncio.run(carry_out(words))
    print(table(outcomes))
    return 0 if all(one.in_time and not one.faults() for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
