"""What the llm service adds to a model's answers, how many it carries, and whether budgets hold.

A real `looma up` (gateway, tokens, ledger, budget and limits on, masking as by default) in front of a
model on loopback, in a process of its own, that answers at once. All of it, and the load, share the
cores of this machine: look at `machine_load_*` before the figures.

overhead_p50_ms,   at 100 requests/s through the gateway, minus the same percentile of the model
overhead_p99_ms    asked directly at that rate, in turns: the median of the rounds
throughput         requests/s through the gateway with 16 connections, and `llm_cpu_us`, the
                   processor time of the llm service's process for each
ratio_litellm      throughput over that of LiteLLM's proxy without its database, in turns; null where
                   that can't be had, for the reason in `litellm_missing`
overspend          what the model billed beyond a tight budget, and `refused_with_money_left`, of so
refused_with_…     many `tight_requests`, 200 at once, whole and streamed, at the llm service itself;
                   `unbilled` is how far its ledger is from the model's own bills
streams_rss_mb     memory of the llm service's process while `streams` answers are streamed
reservations_*     the ledger alone: benchmarks/llm_reservations.py
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import httpx
import orjson
import psutil

from benchmarks.edge.host import Host, NotMeasured, answers, free_port, open_files, rivals_folder
from benchmarks.edge.load import Load, Wrk
from benchmarks.llm_reservations import measure_reservations
from benchmarks.platform import Platform
from benchmarks.rivals import litellm
from benchmarks.rivals.proxy import Proxy
from benchmarks.scale_load import load
from gateway.routing.packaged import packaged_text
from looma_cli.supervision.run_state import RunFiles
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import find
from shared.security import InternalTokens, Principal
from shared.wire import INTERNAL_TOKEN_HEADER

_ALWAYS_SHOWN: Final = (
    "overhead_p50_ms", "overhead_p99_ms", "throughput", "ratio_litellm", "overspend",
    "refused_with_money_left", "streams_rss_mb", "reservations_batched_per_s",
)  # fmt: skip
_RATE: Final = 100.0
_CONNECTIONS: Final = 16
_AT_ONCE: Final = 200
_STREAMS: Final = 1_000
_WITHIN_S: Final = 60.0
_EXPECTED: Final = {"200", "402", "429", "with money left"}
_MODEL: Final = "upstream"
_INPUT, _OUTPUT = Decimal(1), Decimal(4)  # per million tokens
_MODELS: Final = """
currency = "USD"

[providers.loopback]
base_url = "{url}/v1"
requests_per_minute = 100_000_000
tokens_per_minute = 100_000_000

[models.gpt]
deployments = [{{ provider = "loopback", model = "upstream" }}]
context = 32768
max_output = 4096
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]

[limits]
organisation = {{ requests_per_minute = 100_000_000, tokens_per_minute = 100_000_000 }}
subject = {{ requests_per_minute = 100_000_000 }}
"""
_QUESTION: Final = {
    "messages": [{"role": "user", "content": "What does the customer want? " * 8}],
    "max_tokens": 200,
}


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int
    tight_requests: int
    reservations_s: float


QUICK: Final = Plan(rounds=1, seconds=5, tight_requests=1_000, reservations_s=1.0)
FULL: Final = Plan(rounds=3, seconds=10, tight_requests=5_000, reservations_s=3.0)


def run(*, quick: bool) -> dict[str, Any]:
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = dict.fromkeys(_ALWAYS_SHOWN)
    figures |= {"cores": os.cpu_count(), "machine_load_before": _load()}
    open_files(8 * _STREAMS)
    with Host(pinned=False) as host, _bench(host, plan, figures) as bench:
        bench.part("overhead", bench.overhead())
        bench.throughput()
        bench.part("tight", bench.tight())
        bench.part("streams", bench.streams())
        bench.part("reservations", bench.reservations())
    figures["machine_load_after"] = _load()
    return figures


@contextmanager
def _bench(host: Host, plan: Plan, figures: dict[str, Any]) -> Iterator[_Bench]:
    model_port, llm_port = free_port(), free_port()
    model = host.start(
        "model", [sys.executable, "-m", "benchmarks.model_server", "--port", str(model_port)]
    )
    host.wait(model, answers(f"http://127.0.0.1:{model_port}/control/bills"))
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        models = folder / "models.toml"
        models.write_text(_MODELS.format(url=f"http://127.0.0.1:{model_port}"))
        routes = (
            folder / "routes.toml"
        )  # with limits that one client may reach and none of these does
        routes.write_text(re.sub(r"\b\d+/s burst \d+", "100000/s burst 100000", packaged_text()))
        platform = Platform(folder / "home", free_port())
        secret = os.urandom(32).hex()
        platform.env |= {
            "LLM_MODELS": str(models), "LLM_PORT": str(llm_port), "INTERNAL_TOKEN_SECRET": secret,
            "GATEWAY_ROUTES": str(routes),
        }  # fmt: skip
        try:
            platform.up()
            yield _Bench(host, plan, figures, platform, model_port, llm_port, secret)
        finally:
            platform.down()


class _Bench:
    def __init__(
        self,
        host: Host,
        plan: Plan,
        figures: dict[str, Any],
        platform: Platform,
        model_port: int,
        llm_port: int,
        secret: str,
    ) -> None:
        self._host, self._plan, self._figures = host, plan, figures
        self._platform = platform
        self._model, self._llm = f"http://127.0.0.1:{model_port}", f"http://127.0.0.1:{llm_port}"
        self._model_port = model_port
        self._token = platform.looma("token", "--role", "admin")
        self._org_id = UUID(_claims(self._token)["org"])
        self._principal = Principal(self._org_id, f"user:{uuid4()}", "admin", "user")
        self._tokens = InternalTokens(secret.encode())
        self._set_budget(Decimal(1_000_000))

    def part(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Measure a part, or tell why it has no figure."""
        try:
            asyncio.run(work)
        except NotMeasured as error:
            self._figures[f"{name}_missing"] = str(error)
        print(f"{name}: done (load {_load()})", file=sys.stderr)

    async def overhead(self) -> None:
        """Rounds of both at the same rate; a first one through the gateway warms all up."""
        ways = {
            "direct": (self._model_port, _request(self._model_port, _MODEL, "none")),
            "through": (self._platform.port, _request(self._platform.port, "gpt", self._token)),
        }
        await self._paced(*ways["through"])
        seen: dict[str, list[float]] = {f"{way}_p{at}": [] for way in ways for at in (50, 99)}
        for _ in range(self._plan.rounds):
            for way, (port, request) in ways.items():
                for at, found in (await self._paced(port, request)).items():
                    seen[f"{way}_p{at}"].append(found)
        for at in (50, 99):
            through, direct = seen[f"through_p{at}"], seen[f"direct_p{at}"]
            added = [one - other for one, other in zip(through, direct, strict=True)]
            self._figures[f"overhead_p{at}_ms"] = round(statistics.median(added), 2)
            self._figures[f"direct_p{at}_ms"] = round(statistics.median(direct), 2)

    async def _paced(self, port: int, request: bytes) -> dict[int, float]:
        async with load(port, _RATE, lambda: request) as tally:
            await asyncio.sleep(self._plan.seconds)
        if tally.failures:
            raise NotMeasured(f"requests failed at {_RATE:g}/s: {dict(tally.failures)}")
        return {at: tally.ms(at) for at in (50, 99)}

    def throughput(self) -> None:
        """Ours, and LiteLLM's, in turns."""
        wrk = Wrk(self._host.folder, self._token)
        rival = self._rival()
        process, used = psutil.Process(self._pid()), 0.0
        ours: list[Load] = []
        theirs: list[Load] = []
        for _ in range(self._plan.rounds):
            before = sum(process.cpu_times()[:2])
            ours.append(self._carried(wrk, self._platform.url, "gpt"))
            used += sum(process.cpu_times()[:2]) - before
            if rival is not None:
                try:
                    theirs.append(self._carried(wrk, rival.url(""), "gpt"))
                except NotMeasured as error:
                    self._figures["litellm_missing"] = str(error)
                    self._host.end(rival.child)
                    rival = None
        mine = Load.median(ours)
        self._figures |= {
            "throughput": round(mine.rps, 1),
            "throughput_p50_ms": round(mine.p50_ms, 1),
            "throughput_p99_ms": round(mine.p99_ms, 1),
            "llm_cpu_us": round(1e6 * used / sum(one.requests for one in ours)),
        }
        if rival is not None:
            other = Load.median(theirs)
            self._host.end(rival.child)
            self._figures |= {
                "litellm_rps": round(other.rps, 1),
                "litellm_p50_ms": round(other.p50_ms, 1),
                "ratio_litellm": round(mine.rps / other.rps, 2),
            }
        print(f"throughput: done (load {_load()})", file=sys.stderr)

    def _carried(self, wrk: Wrk, base: str, model: str) -> Load:
        body = orjson.dumps({"model": model, **_QUESTION})
        return wrk.post(f"{base}/v1/chat/completions", body, self._plan.seconds, _CONNECTIONS)

    def _rival(self) -> Proxy | None:
        try:
            proxy = litellm.start_models(
                self._host, rivals_folder(), {"gpt": (f"{self._model}/v1", _MODEL)}
            )
            proxy.wait(self._host, _WITHIN_S)
            self._warm(proxy)
        except NotMeasured as error:
            self._figures["litellm_missing"] = str(error)
            return None
        return proxy

    def _warm(self, proxy: Proxy) -> None:
        """Its first answer takes seconds."""
        body = {"model": "gpt", **_QUESTION}
        try:
            url = proxy.url("/v1/chat/completions")
            httpx.post(url, json=body, timeout=_WITHIN_S).raise_for_status()
        except httpx.HTTPError as error:
            self._host.end(proxy.child)
            raise NotMeasured(f"LiteLLM doesn't answer: {error}") from error

    async def tight(self) -> None:
        """Many at once on a budget that holds about half of them."""
        before, spent = await self._bills(), self._spent()
        budget = spent + Decimal("0.000200") * self._plan.tight_requests / 2
        self._set_budget(budget)
        seen: Counter[str] = Counter()
        left = iter(range(self._plan.tight_requests))
        began = time.perf_counter()
        async with _session(self._inside()) as session:

            async def work() -> None:
                for number in left:
                    seen.update(await self._one(session, number))

            await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        seconds = time.perf_counter() - began
        other = Counter({said: n for said, n in seen.items() if said not in _EXPECTED})
        await self._settled()
        billed = _cost((await self._bills())[len(before) :])
        charged = self._spent() - spent
        self._set_budget(Decimal(1_000_000))
        self._figures |= {
            "overspend": float(max(Decimal(0), spent + billed - budget)),
            "refused_with_money_left": seen["with money left"],
            "unbilled": float(billed - charged),
            "tight_requests": self._plan.tight_requests,
            "tight_answered": seen["200"],
            "tight_refused": seen["402"],
            "tight_waited_in_vain": seen["429"],
            "tight_failed": sum(other.values()),
            "tight_failures": "; ".join(f"{n} × {said}" for said, n in other.most_common(3)),
            "tight_left": float(budget - spent - billed),
            "tight_rps": round(self._plan.tight_requests / seconds, 1),
        }

    async def _one(self, session: aiohttp.ClientSession, number: int) -> list[str]:
        """What a request came to: its status, and whether it was refused though there was money."""
        text = "word " * (number % 40 + 1)
        body = {"model": "gpt", "messages": [{"role": "user", "content": text}], "max_tokens": 60}
        url = f"{self._llm}/v1/chat/completions"
        async with session.post(url, json={**body, "stream": number % 2 == 0}) as answer:
            said = (await answer.read()).decode()
        if answer.status != 402:
            return [str(answer.status)] if answer.status in {200, 429} else [said[:200]]
        has = Decimal(said.partition(" has ")[2].partition(" left")[0])
        wants = Decimal(said.partition("may cost ")[2].partition(";")[0])
        return ["402", "with money left"] if has >= wants else ["402"]

    async def streams(self) -> None:
        """As many streams as are said, all under way at once."""
        process = psutil.Process(self._pid())
        before = process.memory_info().rss
        await self._behave(words=60, pause_s=1.0)
        body = {"model": "gpt", **_QUESTION, "stream": True}
        try:
            async with _session(self._inside()) as session, asyncio.TaskGroup() as group:
                begun = asyncio.Semaphore(0)
                reading = [
                    group.create_task(
                        _read(session, f"{self._llm}/v1/chat/completions", body, begun)
                    )
                    for _ in range(_STREAMS)
                ]
                async with asyncio.timeout(_WITHIN_S):
                    for _ in range(_STREAMS):
                        await begun.acquire()
                during = process.memory_info().rss
                if any(task.done() for task in reading):
                    raise NotMeasured("some streams had ended before all had begun")
                for task in reading:
                    task.cancel()
        except ExceptionGroup as group:
            raise NotMeasured(f"not all streams began: {group.exceptions[0]!r}") from group
        finally:
            await self._behave()
        self._figures |= {
            "streams": _STREAMS,
            "streams_rss_mb": round(during / 2**20, 1),
            "streams_kb_each": round((during - before) / 2**10 / _STREAMS, 1),
        }
        await self._settled()

    async def reservations(self) -> None:
        found = find(self._platform.home)
        if found is None:
            raise NotMeasured("the platform has no stores of its own: is DATABASE_URL set?")
        relational = Postgres(found.database_url, pool_size=8)
        try:
            self._figures |= await measure_reservations(relational, self._plan.reservations_s)
        finally:
            await relational.close()

    def _inside(self) -> dict[str, str]:
        """The headers of a request to the llm service itself; good for a minute."""
        return {INTERNAL_TOKEN_HEADER: self._tokens.mint(self._principal, "llm")}

    def _set_budget(self, amount: Decimal) -> None:
        body = {"subject_kind": "organisation", "period": "total", "amount": f"{amount:.8f}"}
        self._ask("PUT", "/api/v1/budgets", json=body)

    def _spent(self) -> Decimal:
        (budget,) = self._ask("GET", "/api/v1/budgets")["budgets"]
        return Decimal(budget["spent"])

    async def _settled(self) -> None:
        """Until nothing is reserved any more."""
        for _ in range(int(_WITHIN_S / 0.1)):
            (budget,) = self._ask("GET", "/api/v1/budgets")["budgets"]
            if not Decimal(budget["reserved"]):
                return
            await asyncio.sleep(0.1)
        raise NotMeasured(f"attempts were not settled within {_WITHIN_S:g} s")

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        url = f"{self._platform.url}{path}"
        answer = httpx.request(method, url, headers=headers, timeout=30, **more)
        return answer.raise_for_status().json()["data"]

    async def _bills(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(timeout=30) as client:
            found: list[dict[str, Any]] = (await client.get(f"{self._model}/control/bills")).json()
        return found

    async def _behave(self, **fields: Any) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            await client.put(f"{self._model}/control/{_MODEL}", json=fields)

    def _pid(self) -> int:
        state = RunFiles(self._platform.home).read()
        found = {one.name: one.pid for one in state.processes} if state is not None else {}
        pid = found.get("llm")
        if pid is None:
            raise NotMeasured("the llm service does not run")
        return pid


@asynccontextmanager
async def _session(headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=connector, read_bufsize=4096
    ) as session:
        yield session


async def _read(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], begun: asyncio.Semaphore
) -> None:
    async with session.post(url, json=body) as answer:
        if answer.status != 200:
            raise NotMeasured(f"a stream was answered {answer.status}: {await answer.text()}")
        await answer.content.readany()
        begun.release()
        async for _ in answer.content.iter_any():
            pass


def _cost(bills: list[dict[str, Any]]) -> Decimal:
    tokens = sum(bill["input"] * _INPUT + bill["output"] * _OUTPUT for bill in bills)
    return Decimal(tokens) / 1_000_000


def _request(port: int, model: str, token: str) -> bytes:
    body = orjson.dumps({"model": model, **_QUESTION})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    claims: dict[str, Any] = orjson.loads(
        base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))
    )
    return claims


def _load() -> float:
    return round(os.getloadavg()[0], 2)
