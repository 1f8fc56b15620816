"""Demo data: a year of outbound calls as JSON Lines in our own format.

The same arguments give the same bytes, on any machine. What it shows on purpose:
- a daily and weekly rhythm (09:00-21:00, quiet weekends) and slow growth over the year;
- accounts of different size and reach; one of them (TROUBLED) runs into complaints and
  departures in its last six weeks;
- customers with a temper of their own, called about four times each on average, in Chinese
  or English; intention, hang-up and length of a call follow from what is said in it.

Phone numbers can't belong to anybody: +1 555 and the 140 range of machine SIM cards.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from statistics import NormalDist
from typing import Any, Final, TypeVar
from uuid import UUID

from looma_cli.work.demo.demo_dialogues import SLOT_SETS, Scenario, load_dialogues
from shared.errors import Detail, InvalidInput

DEFAULT_END: Final = date(2025, 12, 31)
DAYS: Final = 365
ACCOUNTS: Final = 20
AGENTS: Final = 4  # of each account
TROUBLED: Final = 3  # index of the account whose last weeks go wrong
CALLS_PER_CUSTOMER: Final = 4
_TROUBLED_DAYS: Final = 42
_BLOCK_CALLS: Final = 1_000
_OFFSET: Final = "+08:00"
_WEEKDAYS: Final = (1.0, 1.1, 1.1, 1.1, 1.0, 0.35, 0.2)
_HOURS: Final = {
    9: 8,
    10: 11,
    11: 10,
    12: 3,
    13: 4,
    14: 10,
    15: 11,
    16: 10,
    17: 8,
    18: 5,
    19: 4,
    20: 2,
}
_UNREACHED: Final = {
    "no_answer": 45,
    "busy": 18,
    "power_off": 15,
    "rejected": 12,
    "invalid_number": 6,
    "failed": 4,
}
_TEMPER_SHARES: Final = {"warm": 25, "even": 40, "cool": 22, "irritated": 13}
_CHINESE_SHARE: Final = 75
_MIX: Final = 2_654_435_761  # Knuth's multiplicative hash: spreads neighbouring numbers
_QUANTILES: Final = 1024
_CUSTOMER: Final = '{"role":"customer","at_ms":'

T = TypeVar("T")


def generate_calls(
    n: int,
    seed: int,
    *,
    end: date = DEFAULT_END,
    transcripts: float = 1.0,
    bad_rows: float = 0.0,
) -> Iterator[bytes]:
    """Blocks of JSON Lines, `n` calls in all, in order of time, over the year up to `end`.

    `transcripts`: share of connected calls that come with one. `bad_rows`: share of rows
    that are made wrong in the ways in which real files are; the other rows stay as they are.
    """
    _check(n, seed, transcripts, bad_rows)
    writer = _CallWriter(n, seed, transcripts)
    spoiler = random.Random(f"bad-{seed}")  # noqa: S311 - sample data, no secrets
    first_day = end - timedelta(days=DAYS - 1)
    rows: list[str] = []
    for index, calls in enumerate(_calls_per_day(n, first_day)):
        for row in writer.day(first_day + timedelta(days=index), calls, DAYS - index):
            spoilt = bad_rows and spoiler.random() < bad_rows
            rows.append(_spoil(row, spoiler) if spoilt else row)
            if len(rows) >= _BLOCK_CALLS:
                yield "".join(rows).encode()
                rows.clear()
    if rows:
        yield "".join(rows).encode()


class _CallWriter:
    """Writes calls one after another; its random stream is the only state."""

    def __init__(self, n: int, seed: int, transcripts: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - sample data, no secrets
        self._random = rng.random
        self._seed = seed
        self._transcripts = transcripts
        self._written = 0
        self._customers = max(1, n // CALLS_PER_CUSTOMER)
        self._salt = rng.getrandbits(32)
        self._users = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(ACCOUNTS)]
        self._reach = [0.53 + 0.16 * rng.random() for _ in range(ACCOUNTS)]
        self._account_of = _in_proportion(
            {account: 100 / (account + 4) for account in range(ACCOUNTS)}, 1000
        )
        self._tempers = _in_proportion(_TEMPER_SHARES, 100)
        self._unreached = _in_proportion(_UNREACHED, 100)
        self._minutes = _minutes()
        self._paces = _paces()
        self._choices = load_dialogues().choices

    def day(self, day: date, calls: int, days_left: int) -> Iterator[str]:
        """The day's calls in order of time, each a line of JSON."""
        draw, minutes = self._random, self._minutes
        clock = sorted(
            (minutes[int(draw() * _QUANTILES)] * 60 + int(draw() * 60)) for _ in range(calls)
        )
        month = f"{day:%Y%m}"
        for second in clock:
            at = f"{day}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{_OFFSET}"
            yield self._call(at, month, days_left)

    def _call(self, started_at: str, month: str, days_left: int) -> str:
        draw = self._random
        # The product of two draws: a few customers are called often, most of them rarely.
        customer = int(draw() * draw() * self._customers)
        mixed = (customer * _MIX + self._salt) & 0xFFFFFFFF
        account = self._account_of[mixed % 1000]
        chinese = (mixed >> 10) % 100 < _CHINESE_SHARE
        agent = (mixed >> 24) % AGENTS + 1  # a customer's own
        phone = f"140{mixed % 10**8:08}" if chinese else f"+1555{mixed % 10**7:07}"
        self._written += 1
        head = (
            f'{{"callid":"demo-{self._seed}-{self._written:09}",'
            f'"task_id":"task-{month}-{account:02}","agent_id":"agent-{account:02}-{agent}",'
            f'"user_id":"{self._users[account]}",'
            f'"customer_id":"customer-{customer:08}","phone":"{phone}",'
            f'"started_at":"{started_at}",'
        )
        if draw() >= self._reach[account]:
            status = self._unreached[int(draw() * 100)]
            return (
                f'{head}"duration_ms":0,"bill_ms":0,"rounds":0,"level_name":null,'
                f'"call_status":"{status}","hangup_by":null,"turns":null}}\n'
            )
        temper = self._tempers[(mixed >> 17) % 100]
        if account == TROUBLED and days_left <= _TROUBLED_DAYS and draw() < 0.8:
            temper = "irritated"
        scenarios = self._choices["zh" if chinese else "en"][temper]
        return head + self._talk(scenarios[int(draw() * len(scenarios))])

    def _talk(self, scenario: Scenario) -> str:
        draw = self._random
        slots = int(draw() * SLOT_SETS)
        pace = self._paces[int(draw() * _QUANTILES)]
        at, rounds = 900.0, 0
        turns: list[str] = []
        for optional, before_time, lines in scenario.steps:
            choice = draw()
            if optional:
                if choice < 0.5:
                    continue
                choice = choice * 2 - 1  # what is left of the draw is even again
            ways = lines[slots]
            rest, ms = ways[int(choice * len(ways))]
            turns.append(f"{before_time}{int(at)}{rest}")
            at += ms * pace
            rounds += before_time == _CUSTOMER
        duration = int(at)
        level = scenario.levels[int(draw() * len(scenario.levels))]
        hangup = 2 if draw() < scenario.hangup else 1
        spoken = f"[{','.join(turns)}]" if draw() < self._transcripts else "null"
        return (
            f'"duration_ms":{duration},"bill_ms":{-(-duration // 60_000) * 60_000},'
            f'"rounds":{rounds},"level_name":"{level}","call_status":"connected",'
            f'"hangup_by":{hangup},"turns":{spoken}}}\n'
        )


def _check(n: int, seed: int, transcripts: float, bad_rows: float) -> None:
    wrong = []
    if not 0 <= n <= 10**9:
        wrong.append(Detail("calls", f"{n} is out of range", "write 0 to 1,000,000,000"))
    if not 0 <= seed < 2**63:
        wrong.append(Detail("seed", f"{seed} is out of range", "write 0 to 2^63 - 1"))
    for name, share in (("transcripts", transcripts), ("bad_rows", bad_rows)):
        if not 0 <= share <= 1:
            wrong.append(Detail(name, f"{share} is no share", "write a number from 0 to 1"))
    if wrong:
        told = "; ".join(f"{one.field}: {one.problem}, {one.fix}" for one in wrong)
        raise InvalidInput(f"The demo can't be generated. {told}.", details=wrong)


def _calls_per_day(n: int, first_day: date) -> Iterator[int]:
    """`n` spread over the year: week, season and growth; the numbers add up to `n`."""
    weights = [
        _WEEKDAYS[(first_day + timedelta(days=day)).weekday()]
        * (1 + 0.2 * math.sin(2 * math.pi * day / DAYS))
        * (0.8 + 0.4 * day / DAYS)
        for day in range(DAYS)
    ]
    total, reached, given = math.fsum(weights), 0.0, 0
    for day, weight in enumerate(weights):
        reached += weight
        until = n if day == DAYS - 1 else min(n, int(n * reached / total))
        yield until - given
        given = until


def _minutes() -> list[int]:
    """Minutes of the day at even quantiles of the daily rhythm."""
    total = sum(_HOURS.values())
    minutes, reached = [], 0.0
    for hour, weight in _HOURS.items():
        start, reached = reached, reached + weight / total
        first, last = round(start * _QUANTILES), round(reached * _QUANTILES)
        minutes += [hour * 60 + 60 * at // (last - first) for at in range(last - first)]
    return minutes


def _paces() -> list[float]:
    """How slowly people speak: log-normal, so that the lengths of calls are too."""
    normal = NormalDist(0.0, 0.35)
    return [math.exp(normal.inv_cdf((at + 0.5) / _QUANTILES)) for at in range(_QUANTILES)]


def _in_proportion(shares: Mapping[T, float], size: int) -> list[T]:
    """`size` entries in which each key has its share: picking one evenly picks by weight."""
    total, reached, picked = sum(shares.values()), 0.0, list[T]()
    for key, share in shares.items():
        reached += share
        picked += [key] * (round(reached / total * size) - len(picked))
    return picked


def _spoil(row: str, spoiler: random.Random) -> str:
    """The row with one of the faults that real files have."""
    return spoiler.choice(_FAULTS)(row)


def _set(**values: Any) -> Callable[[str], str]:
    return lambda row: json.dumps({**json.loads(row), **values}, ensure_ascii=False) + "\n"


_FAULTS: Final[Sequence[Callable[[str], str]]] = (
    _set(started_at="2025-02-30T10:00:00+08:00"),
    _set(started_at="2025-03-05 10:00:00"),
    _set(call_status="connected", duration_ms=-5),
    _set(call_status="connected", duration_ms="NaN"),
    _set(call_status="ringing"),
    _set(call_status="busy", rounds=4),
    _set(user_id=None),
    _set(callid="a\0b"),
    _set(user_id="team/7"),
    _set(callid="1.23457E+17"),
    lambda row: row[: len(row) // 2] + "\n",
    lambda _row: "[]\n",
)
