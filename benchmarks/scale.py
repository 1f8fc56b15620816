"""What a second replica brings, how soon, and what is lost when replicas leave or are restarted.

Keys: speedup_2, join_s, leave_failed, rolling_failed. The route of `speedup_2` is GET /api/v1/calls
with 1,000 calls a page, which the service writes as JSON; `service_cpu_share` is the service's part of
the processor time that all of the platform takes for it. `machine_speedup_2` is what two processes
that only count make of one in the same round, the most that `speedup_2` can be: gateway, PostgreSQL
and wrk share the same cores. `join_s` is from the start of a replica's process to its first answer
through the gateway. A restart is SIGTERM to each replica of each service in turn, under 200 requests/s
of reads, pages, portraits and keyed writes. `*_before` is what failed under the same load before
anything left. A rate at which something does is halved, four times at most, until nothing fails:
`leave_rate` and `rolling_rate` are the rates that the machine could carry when it was measured. After
500 failed requests no further replica is restarted; `rolling_restarts` says how many were.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from benchmarks.edge.host import NotMeasured, free_port
from benchmarks.edge.load import Wrk
from benchmarks.platform import Platform
from benchmarks.scale_load import Mix, load, record
from looma_cli.supervision.run_state import RunFiles
from shared.services import SERVICES

_ALWAYS_SHOWN: Final = ("speedup_2", "join_s", "leave_failed", "rolling_failed")
_SERVICE: Final = "enrichment"
_ROUTE: Final = "/api/v1/calls"
_USER: Final = "scale"
_CALLS: Final = 1_000
_REPLICAS: Final = 2  # of each service, while they are restarted
_RATE: Final = 200.0
_LEAVING_RATE: Final = 100.0
_RATES: Final = 5  # that are tried, each half the one before
_CONTROL_S: Final = 5.0
_SETTLE_S: Final = 3.0
_TOO_MANY: Final = 500  # failed requests: what is restarted after them tells nothing new
_WITHIN_S: Final = 120.0
_ANSWERED: Final = re.compile(rf'^http_requests_total{{.*route="{_ROUTE}".*}} [1-9]', re.MULTILINE)
_COUNT: Final = (
    "import time\nend, n = time.perf_counter() + {seconds}, 0\n"
    "while time.perf_counter() < end:\n    n += sum(range(2000)) > 0\nprint(n)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int


QUICK: Final = Plan(rounds=1, seconds=6)
FULL: Final = Plan(rounds=3, seconds=12)


def run(*, quick: bool) -> dict[str, Any]:
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = dict.fromkeys(_ALWAYS_SHOWN)
    figures |= {"cores": os.cpu_count(), "machine_load_before": _load()}
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        platform = Platform(folder / "home", free_port())
        try:
            platform.up()
            figures |= _measured(_Scale(platform, folder, plan).figures(), "scale")
            platform.down()
            platform.up("--replicas", ",".join(f"{one.name}={_REPLICAS}" for one in SERVICES))
            figures |= _measured(rolling(platform), "rolling")
        finally:
            platform.down()
    figures["machine_load_after"] = _load()
    return figures


def _measured(work: Coroutine[Any, Any, dict[str, Any]], part: str) -> dict[str, Any]:
    """The figures of a part, or why it has none; said at once, should a later part fail."""
    try:
        figures = asyncio.run(work)
    except NotMeasured as error:
        figures = {f"{part}_missing": str(error)}
    _say(f"{part}: {figures}")
    return figures


class _Scale:
    """Rounds of: one replica, a second one joins, both, it leaves."""

    def __init__(self, platform: Platform, folder: Path, plan: Plan) -> None:
        self._platform = platform
        self._plan = plan
        self._token = platform.looma("token", "--role", "admin")
        self._wrk = Wrk(folder, self._token)
        self._mix = _filled(platform, self._token)

    async def figures(self) -> dict[str, Any]:
        rounds = [await self._round() for _ in range(self._plan.rounds)]
        found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        return {
            **{name: round(value, 3) for name, value in found.items()},
            "join_slowest_s": round(max(one["join_s"] for one in rounds), 2),
            "leave_failed": sum(one["leave_failed"] for one in rounds),
            "leave_failed_before": sum(one["leave_failed_before"] for one in rounds),
            "leave_rate": min(one["leave_rate"] for one in rounds),
            "import_s": round(self._import_s(), 2),
        }

    async def _round(self) -> dict[str, float]:
        machine = _machine_speedup(self._plan.seconds / 3)
        alone, share = self._rps()
        with self._replica() as (process, url):
            join_s = await self._join(url)
            both, _ = self._rps()
            left = await self._leave(process)
        return {
            "rps_1": alone,
            "rps_2": both,
            "speedup_2": both / alone,
            "machine_speedup_2": machine,
            "service_cpu_share": share,
            "join_s": join_s,
            **left,
        }

    def _rps(self) -> tuple[float, float]:
        """Requests/s of the route, and the services' part of the processor time that it took."""
        services, whole = _cpu_s(self._platform, _SERVICE), _cpu_s(self._platform, "")
        url = f"{self._platform.url}{_ROUTE}?user_id={_USER}&limit={_CALLS}"
        before = time.perf_counter()
        found = self._wrk.get(url, self._plan.seconds, connections=8)
        _say(f"{found.rps:.1f} requests/s for {time.perf_counter() - before:.0f} s")
        used = _cpu_s(self._platform, "") - whole
        return found.rps, (_cpu_s(self._platform, _SERVICE) - services) / used if used else 0.0

    @contextmanager
    def _replica(self) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """One more process of the service, as whoever runs it by hand starts it."""
        port = free_port()
        environment = {**self._platform.env, f"{_SERVICE.upper()}_PORT": str(port)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"ai_services.{_SERVICE}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()

    async def _join(self, url: str) -> float:
        """Seconds until it has answered a request that came by the gateway."""
        began = time.perf_counter()

        async def has_answered() -> bool:
            page = await client.get(f"{url}/metrics")
            return _ANSWERED.search(page.text) is not None

        async with httpx.AsyncClient(timeout=5) as client, load(self._port, 50.0, self._mix.page):
            await _until("the new replica has answered", has_answered, 0.02)
            return time.perf_counter() - began

    async def _leave(self, process: subprocess.Popen[bytes]) -> dict[str, float]:
        """Requests that failed before it was ended by SIGTERM, and from then on."""
        rate = await _carried(self._port, _LEAVING_RATE, self._mix)
        async with load(self._port, rate, self._mix.any) as tally:
            await asyncio.sleep(_SETTLE_S)
            before = tally.failed
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, _WITHIN_S)
            await asyncio.sleep(_SETTLE_S)
        _say(f"left: {len(tally.latencies)} answered, failed {dict(tally.failures)}")
        return {
            "leave_rate": rate,
            "leave_failed": tally.failed - before,
            "leave_failed_before": before,
        }

    def _import_s(self) -> float:
        """How long a process of the service loads its code."""
        began = time.perf_counter()
        command = [sys.executable, "-c", f"import ai_services.{_SERVICE}.__main__"]
        subprocess.run(command, env=self._platform.env, check=True)
        return time.perf_counter() - began

    @property
    def _port(self) -> int:
        return self._platform.port


async def rolling(platform: Platform) -> dict[str, Any]:
    """Restart every replica of every service, one after the other, under load."""
    token = platform.looma("token", "--role", "admin")
    mix = Mix(platform.port, token, _USER, [f"call-{number}" for number in range(_CALLS)])
    files, restarts = RunFiles(platform.home), 0
    names = [f"{one.name}{number}" for one in SERVICES for number in ("", "-2")]
    await _until("the gateway knows all", lambda: _all_known(platform, token), 0.2)
    rate = await _carried(platform.port, _RATE, mix)
    began = time.perf_counter()
    async with load(platform.port, rate, mix.any) as tally:
        await asyncio.sleep(_CONTROL_S)
        before = tally.failed
        for name in names:
            old = _pid(files, name)
            assert old is not None, f"{name} does not run"
            os.kill(old, signal.SIGTERM)
            await _until(f"{name} is back", partial(_is_back, files, name, old), 0.1)
            await _until("the gateway knows all", lambda: _all_known(platform, token), 0.2)
            restarts += 1
            _say(f"{name} is back; failed so far {dict(tally.failures)}")
            if tally.failed - before > _TOO_MANY:
                break
        await asyncio.sleep(_SETTLE_S)
        seconds = time.perf_counter() - began
    answered = len(tally.latencies)
    return {
        "rolling_rate": rate,
        "rolling_failed": tally.failed - before,
        "rolling_failed_before": before,
        "rolling_failures": ", ".join(f"{what}: {n}" for what, n in tally.failures.items()),
        "rolling_restarts": restarts,
        "rolling_requests": answered + tally.failed,
        "rolling_rps": round((answered + tally.failed) / seconds, 1),
        "rolling_p50_ms": tally.ms(50),
        "rolling_p99_ms": tally.ms(99),
    }


async def _carried(port: int, wanted: float, mix: Mix) -> float:
    """The rate, `wanted` or a half of it or less, at which nothing fails while all stay."""
    failures: dict[str, int] = {}
    for halved in range(_RATES):
        rate = wanted / (1 << halved)
        async with load(port, rate, mix.any) as tally:
            await asyncio.sleep(_CONTROL_S)
        if not tally.failed:
            return rate
        failures = dict(tally.failures)
        _say(f"{rate:g} requests/s are too many here: {failures}")
    raise NotMeasured(f"requests fail at {rate:g}/s before anything leaves: {failures}")


def _filled(platform: Platform, token: str) -> Mix:
    """With calls of one user, and their portraits computed."""
    calls = [f"call-{number}" for number in range(_CALLS)]
    records = [record(callid, _USER, number) for number, callid in enumerate(calls)]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=60) as client:
        client.post(_ROUTE, json={"records": records}).raise_for_status()
        client.post(
            "/api/v1/admin/compute", json={}, headers={"Prefer": "wait=30"}
        ).raise_for_status()
    return Mix(platform.port, token, _USER, calls)


async def _all_known(platform: Platform, token: str) -> bool:
    """Whether the gateway has two well instances of each service."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=5) as client:
        found = (await client.get(f"{platform.url}/api/v1/gateway/upstreams")).json()
    well = {
        one["service"]: sum(bool(instance["healthy"]) for instance in one["instances"])
        for one in found["data"]["services"]
    }
    return all(well.get(one.name) == _REPLICAS for one in SERVICES)


async def _is_back(files: RunFiles, name: str, old: int) -> bool:
    state = files.read()
    processes = {one.name: one for one in state.processes} if state is not None else {}
    one = processes.get(name)
    return one is not None and one.pid not in (None, old) and one.phase == "ready"


def _pid(files: RunFiles, name: str) -> int | None:
    state = files.read()
    assert state is not None
    return next(one.pid for one in state.processes if one.name == name)


async def _until(what: str, holds: Callable[[], Awaitable[bool]], pause: float) -> None:
    """NotMeasured if it takes too long; a server that can't be reached yet does not hold."""
    deadline, seen = time.monotonic() + _WITHIN_S, ""
    while time.monotonic() < deadline:
        try:
            if await holds():
                return
        except httpx.TransportError as error:
            seen = f", {type(error).__name__} at last"
        await asyncio.sleep(pause)
    raise NotMeasured(f"waited longer than {_WITHIN_S:g} s until {what}{seen}")


def _machine_speedup(seconds: float) -> float:
    """What two processes that only count get done, of what one does."""

    def counted(number: int) -> int:
        command = [sys.executable, "-c", _COUNT.format(seconds=seconds)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(number)]
        return sum(int(process.communicate()[0]) for process in running)

    alone = counted(1)
    return counted(2) / alone


def _cpu_s(platform: Platform, service: str) -> float:
    """Processor seconds so far of the platform's processes, or of those of one service."""
    supervisor = psutil.Process(platform.process.pid) if platform.process is not None else None
    assert supervisor is not None
    seconds = 0.0
    for process in (supervisor, *supervisor.children(recursive=True), *_stores(platform)):
        try:
            if f"ai_services.{service}" in process.cmdline() or not service:
                seconds += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return seconds


def _stores(platform: Platform) -> Iterator[psutil.Process]:
    """The servers that are no children of the supervisor, with theirs."""
    for process in psutil.process_iter():
        try:
            if process.ppid() == 1 and str(platform.home) in " ".join(process.cmdline()):
                yield process
                yield from process.children(recursive=True)
        except psutil.Error:
            continue


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _say(line: str) -> None:
    print(f"{line} (load {_load()})", file=sys.stderr)
