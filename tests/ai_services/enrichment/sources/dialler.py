"""A dialler's database on MariaDB: monthly tables of calls and of what was said in them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncmy

ZONE = "Asia/Shanghai"
_CALLS = """CREATE TABLE {name} (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    callid varchar(64) NOT NULL, task_id varchar(64), agent_id varchar(64),
    user_id varchar(64) NOT NULL,
    callee varchar(20), calldate datetime NOT NULL, duration int NOT NULL, bill int NOT NULL,
    rounds int, level_name varchar(8), call_status varchar(16) NOT NULL, hangup_disposition int,
    recycle int DEFAULT 0, is_deleted tinyint NOT NULL DEFAULT 0, KEY (callid), KEY (calldate))
    DEFAULT CHARSET utf8mb4"""
_DETAILS = """CREATE TABLE {name} (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    callid varchar(64) NOT NULL, text mediumtext, KEY (callid)) DEFAULT CHARSET utf8mb4"""
_SAID = (
    "机器人：您好，请问是王先生吗？\n客户：是的，你说。\n机器人：我们这边有一个活动。\n客户：好的，我考虑一下。",
    "你好\n不需要，谢谢",
    '[{"role": "agent", "at_ms": 0, "text": "Good morning."}, {"role": "customer", "at_ms": 900, "text": "No, thanks."}]',
)
_AT_ONCE = 2_000
_STATUSES = ("connected", "connected", "busy", "no_answer", "power_off")


@dataclass
class Dialler:
    """One database of the server, as its administrator sees it."""

    driver: Any
    host: str
    port: int
    name: str

    @property
    def url(self) -> str:
        return f"mysql://root@{self.host}:{self.port}/{self.name}"

    async def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self.driver.cursor() as cursor:
            await cursor.execute(query, values or None)
            return list(await cursor.fetchall()) if cursor.description else []

    async def month(self, month: str) -> None:
        await self.run(_CALLS.format(name=f"autodialer_call_record_{month}"))
        await self.run(_DETAILS.format(name=f"autodialer_call_record_detail_{month}"))

    async def add(self, month: str, calls: Sequence[Call], spoken: float = 0.5) -> None:
        """With what was said in that share of the connected ones."""
        said = [
            (one.callid, _SAID[number % len(_SAID)])
            for number, one in enumerate(calls)
            if one.call_status == "connected" and number % 100 < spoken * 100
        ]
        names = "callid, task_id, agent_id, user_id, callee, calldate, duration, bill, rounds, level_name, call_status, hangup_disposition"
        await self._load(f"autodialer_call_record_{month}", names, [one.row() for one in calls])
        await self._load(f"autodialer_call_record_detail_{month}", "callid, text", said)

    async def _load(self, table: str, names: str, rows: Sequence[Sequence[Any]]) -> None:
        """Many rows to a statement."""
        marks = ", ".join(["%s"] * len(names.split(",")))
        async with self.driver.cursor() as cursor:
            for start in range(0, len(rows), _AT_ONCE):
                await cursor.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",
                    rows[start : start + _AT_ONCE],
                )


@dataclass(frozen=True)
class Call:
    callid: str
    calldate: datetime
    task_id: str = "task-1"
    user_id: str = "acct-1"
    callee: str = "13812345678"
    duration: int = 12_000
    rounds: int = 2
    level_name: str | None = "B"
    call_status: str = "connected"
    hangup: int | None = 2
    agent_id: str | None = "agent-1"

    def row(self) -> tuple[Any, ...]:
        talked = self.call_status == "connected"
        return (
            self.callid, self.task_id, self.agent_id, self.user_id, self.callee,
            self.calldate.strftime("%Y-%m-%d %H:%M:%S"), self.duration if talked else 0,
            self.duration if talked else 0, self.rounds if talked else 0,
            self.level_name if talked else None, self.call_status, self.hangup if talked else None,
        )  # fmt: skip


def calls(
    count: int, first: datetime, days: int = 1, *, seed: int = 1, start: int = 0, mark: str = "c"
) -> Iterator[Call]:
    """Spread over the days; the same ones for the same arguments."""
    chance = random.Random(seed)
    for number in range(start, start + count):
        at = first + timedelta(seconds=chance.randrange(days * 86_400))
        yield Call(
            f"{mark}-{number:08d}", at, f"task-{number % 7}", f"acct-{number % 5}",
            f"138{chance.randrange(10**8):08d}", chance.randrange(2_000, 90_000),
            chance.randrange(9), chance.choice("ABCDEF"), chance.choice(_STATUSES),
            chance.choice((1, 2)),
        )  # fmt: skip


@asynccontextmanager
async def dialler(server: str, name: str):
    """A database of its own on this server, dropped afterwards."""
    at = urlsplit(server)
    driver = await asyncmy.connect(
        host=at.hostname, port=at.port, user=at.username or "root", password=at.password or "",
        charset="utf8mb4", autocommit=True,
    )  # fmt: skip
    found = Dialler(driver, str(at.hostname), int(at.port or 3306), name)
    await found.run(f"CREATE DATABASE {name}")
    await found.run(f"USE {name}")
    try:
        yield found
    finally:
        await found.run(f"DROP DATABASE IF EXISTS {name}")
        await driver.ensure_closed()
