"""`python -m tests.chaos [WORD…]`: the drills whose names have these words, then a table of them.

Exit code 1 if one of them showed a fault, or an outage longer than what is promised.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.chaos.course import carry_out
from tests.chaos.drill import Outcome
from tests.chaos.drills import COURSES
from tests.chaos.table import table


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


async def carry_out_all(words: list[str]) -> list[Outcome]:
    return [outcome for course in COURSES async for outcome in carry_out(course, say, words=words)]


def main(words: list[str]) -> int:
    outcomes = asyncio.run(carry_out_all(words))
    print(table(outcomes))
    return 0 if all(one.in_time and not one.faults() for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
