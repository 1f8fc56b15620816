"""Whatever is killed, stopped or attacked: nothing lost, nothing twice, honest errors, recovery.

How long each outage is decides no test, since machines are noisy: `make drills` measures it.
"""

import pytest

from tests.chaos.course import carry_out
from tests.chaos.drills import COURSES, FAST, Course


async def keeps_its_word(course: Course, before_s: float) -> None:
    # Seen with `pytest -s`: the slow courses take minutes.
    outcomes = [outcome async for outcome in carry_out(course, print, before_s=before_s)]
    assert {one.drill.name: one.faults() for one in outcomes if one.faults()} == {}
    assert all(one.acknowledged > 0 for one in outcomes)
    assert len(outcomes) == len(course.drills)


async def test_the_platform_keeps_its_word() -> None:
    await keeps_its_word(FAST, before_s=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.name)
async def test_the_platform_keeps_its_word_in_every_drill(course: Course) -> None:
    await keeps_its_word(course, before_s=3.0)
