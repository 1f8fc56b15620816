"""What the analysis of calls by models asks, costs and waits for, beside one request per transcript.

The transcripts are dialogues of STAR (English) and CrossWOZ (Chinese), half and half, from
LOOMA_TEST_DATA. A model on loopback answers after 400 to 800 ms; the llm service and its ledger stand
between, each in a process of its own.

requests_per_1000        transcripts, by the whole chain: kept verdicts, what is trivial, the local
                         analyser where it is certain, packs for the rest
requests_second_run      for the same words under other ids
limit_share              of the pace that the model's own latency allows with 5 requests at once, with
                         packs of 5 and no other limit
cpu_ms_per_transcript    of this process, for all but the local analyser: reading, cache, packing,
                         asking, checking, saving
analyzer_per_s           transcripts that the local analyser judges on one core
instructor_*             one request per transcript with `instructor` at the same model, 5 at once;
                         null where it can't be installed, for the reason in `instructor_missing`
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import orjson

from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.opening import Chain, open_chain
from ai_services.enrichment.analysis.local import LocalAnalyzer
from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from ai_services.enrichment.analysis.rows import to_turns
from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
from benchmarks.edge.host import Host, NotMeasured, answers, free_port, rivals_folder
from benchmarks.ingest import KEY, data_folder, fresh_organisation
from benchmarks.rivals.environment import installed
from shared.config import Config, process_environment
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.embedded.stores import EmbeddedStores
from shared.telemetry.metrics import BoundedRegistry

_ALWAYS_SHOWN: Final = (
    "requests_per_1000", "requests_second_run", "limit_share", "cpu_ms_per_transcript",
    "analyzer_per_s", "instructor_requests_per_1000", "instructor_cpu_ms_per_transcript",
)  # fmt: skip
_RIVAL: Final = ("instructor==1.17.0",)
_AT_ONCE: Final = 5
_DELAY: Final = {"delay_s": 0.4, "jitter_s": 0.4}
_MODELS: Final = """
currency = "USD"

[providers.loopback]
base_url = "{url}/v1"

[models.judge]
deployments = [{{ provider = "loopback", model = "judge" }}]
context = 131072
max_output = 8192
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]
"""


@dataclass(frozen=True, slots=True)
class Plan:
    transcripts: int  # a thousand at least, unless quick
    paced: int  # of them, for the pace
    rival: int


QUICK: Final = Plan(transcripts=300, paced=300, rival=60)
FULL: Final = Plan(transcripts=1000, paced=1000, rival=200)


def run(*, quick: bool) -> dict[str, Any]:
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = dict.fromkeys(_ALWAYS_SHOWN)
    figures |= {"cores": os.cpu_count(), "machine_load_before": round(os.getloadavg()[0], 1)}
    calls = list(_calls(plan.transcripts))
    figures["analyzer_per_s"] = _analyzer_rate(calls)
    with Host(pinned=False) as host, tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        asyncio.run(_measured(host, folder, plan, calls, figures))
    figures["machine_load_after"] = round(os.getloadavg()[0], 1)
    return figures


async def _measured(
    host: Host, folder: Path, plan: Plan, calls: Sequence[dict[str, Any]], figures: dict[str, Any]
) -> None:
    async with _bench(host, folder) as bench:
        print("chain: begun", file=sys.stderr)
        figures |= await bench.chain(calls)
        print("pace: begun", file=sys.stderr)
        figures |= await bench.pace(calls[: plan.paced])
        print("rival: begun", file=sys.stderr)
        try:
            figures |= await bench.rival(calls[: plan.rival])
        except NotMeasured as error:
            figures["instructor_missing"] = str(error)


@asynccontextmanager
async def _bench(host: Host, folder: Path) -> AsyncIterator[_Bench]:
    model_port, llm_port = free_port(), free_port()
    model = host.start(
        "model", [sys.executable, "-m", "benchmarks.model_server", "--port", str(model_port)]
    )
    host.wait(model, answers(f"http://127.0.0.1:{model_port}/control/bills"))
    models = folder / "models.toml"
    models.write_text(_MODELS.format(url=f"http://127.0.0.1:{model_port}"))
    stores = EmbeddedStores(folder / "home", which=frozenset({"postgres", "redis"}))
    found = await stores.start()
    settings = {
        "LOOMA_HOME": str(folder / "home"), "DATABASE_URL": found.database_url,
        "REDIS_URL": found.redis_url, "INTERNAL_TOKEN_SECRET": "b" * 64,
        "LLM_MODELS": str(models), "LLM_PORT": str(llm_port), "LOG_LEVEL": "warning",
        "ANALYSIS_MODEL": "judge", "ANALYSIS_PER_MINUTE": "60000",
    }  # fmt: skip
    try:
        service = host.start(
            "llm",
            [sys.executable, "-m", "ai_services.llm"],
            environment=process_environment(**settings),
        )
        host.wait(service, answers(f"http://127.0.0.1:{llm_port}/ready"), 60.0)
        urls = StoreUrls(found.database_url, "", None, None, found.redis_url)
        async with open_data_access(urls, ports=frozenset({"relational", "cache"})) as data:
            yield _Bench(data, settings, folder, f"http://127.0.0.1:{model_port}")
    finally:
        await stores.stop()


@dataclass(frozen=True, slots=True)
class _Bench:
    data: UnifiedDataAccess
    settings: dict[str, str]
    folder: Path
    model: str

    async def chain(self, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole chain twice: as calls come in, and the same words again."""
        org_id = await fresh_organisation(self.data)
        async with self._opened() as chain:
            before = await self._requests()
            await self._bring(org_id, calls)
            seconds, cpu = await self._judged(chain, org_id)
            first = await self._requests() - before
            shares = await self._shares(org_id)
            again = [{**one, "callid": f"again-{one['callid']}"} for one in calls]
            await self._bring(org_id, again)
            await self._judged(chain, org_id)
            second = await self._requests() - before - first
        return {
            "transcripts": len(calls),
            "requests_per_1000": round(1000 * first / len(calls), 1),
            "requests_second_run": second,
            "cpu_ms_per_transcript": round(1000 * cpu / len(calls), 3),
            "chain_seconds": round(seconds, 2),
            **{f"share_{step}": round(n / len(calls), 3) for step, n in shares.items()},
        }

    async def pace(self, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Each transcript by the model, so that there are requests enough for a mean."""
        org_id = await fresh_organisation(self.data)
        async with self._opened(ANALYZER="llm", ANALYSIS_BATCH="5") as chain:
            await self._bring(org_id, calls)
            async with pooled_analyzer(1) as analyzer:
                await analyse_pending(self.data.relational, org_id, analyzer, first=chain.first)
            before = await self._waited()
            began = time.perf_counter()
            assert chain.models is not None
            passed = await chain.models.run(org_id)
            seconds = time.perf_counter() - began
            number, waited = (
                now - then for now, then in zip(await self._waited(), before, strict=True)
            )
        return {
            "limit_share": round(waited / _AT_ONCE / seconds, 3),
            "paced_requests": int(number),
            "paced_per_s": round(passed.saved / seconds, 1),
        }

    async def rival(self, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        python = installed(rivals_folder() / "instructor", _RIVAL)
        await self._behave("single")
        lines = b"\n".join(orjson.dumps(one["turns"]) for one in calls)
        script = Path(__file__).parent / "rivals" / "instructor_calls.py"
        before = await self._requests()
        process = await asyncio.create_subprocess_exec(
            str(python), str(script), f"{self.model}/v1", "judge", str(_AT_ONCE),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, said = await process.communicate(lines)
        if process.returncode:
            raise NotMeasured(f"instructor failed: {said.decode(errors='replace')[-300:]}")
        told = json.loads(out)
        if told["failed"]:
            raise NotMeasured(
                f"{told['failed']} requests of instructor's failed: {said.decode()[:300]}"
            )
        asked = await self._requests() - before
        return {
            "instructor_requests_per_1000": round(1000 * asked / len(calls), 1),
            "instructor_cpu_ms_per_transcript": round(told["cpu_ms_each"], 3),
            "instructor_per_s": round(told["answered"] / told["seconds"], 1),
        }

    @asynccontextmanager
    async def _opened(self, **settings: str) -> AsyncIterator[Chain]:
        await self._behave("honest")
        config = Config.from_env(self.settings | settings)
        async with AsyncExitStack() as stack:
            yield await open_chain(
                config, self.data.relational, self.data.cache, BoundedRegistry(), stack
            )

    async def _bring(self, org_id: UUID, calls: Sequence[dict[str, Any]]) -> None:
        path = self.folder / f"{uuid4().hex}.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, calls)))
        counts = await import_batches(
            self.data.relational, org_id, PhoneCipher(KEY, org_id),
            read_calls(path, load_preset("calls")), source=path.name, preset="calls",
        )  # fmt: skip
        if counts.inserted != len(calls):
            raise RuntimeError(f"not all dialogues went in: {counts}")

    async def _judged(self, chain: Chain, org_id: UUID) -> tuple[float, float]:
        """Seconds, and those of this process's processor; the local analyser has one of its own."""
        assert chain.models is not None
        async with pooled_analyzer(1) as analyzer:
            await analyzer.analyze([[]] * 20)  # its process is up
            began, cpu = time.perf_counter(), time.process_time()
            await analyse_pending(self.data.relational, org_id, analyzer, first=chain.first)
            passed = await chain.models.run(org_id)
            spent = time.perf_counter() - began, time.process_time() - cpu
        if passed.away is not None or passed.dead:
            raise RuntimeError(f"the model did not judge all: {passed}")
        return spent

    async def _shares(self, org_id: UUID) -> dict[str, int]:
        async with self.data.relational.tenant(org_id, readonly=True) as tx:
            return await store.shares(tx, org_id)

    async def _requests(self) -> int:
        return len(await self._bills())

    async def _waited(self) -> tuple[int, float]:
        """Requests that the model has answered, and for how long it let them wait in all."""
        bills = await self._bills()
        return len(bills), sum(bill["waited_s"] for bill in bills)

    async def _bills(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(f"{self.model}/control/bills")
        return list(answer.json())

    async def _behave(self, how: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            wanted = {"judge": how, **_DELAY}
            (await client.put(f"{self.model}/control/judge", json=wanted)).raise_for_status()


def _calls(number: int) -> Iterator[dict[str, Any]]:
    half = number // 2
    sources = (("star_dialogues/star.jsonl.gz", half), ("crosswoz_zh/val.jsonl.gz", number - half))
    for name, most in sources:
        with gzip.open(data_folder() / name) as file:
            spoken = (one for line in file if (one := _call(name, orjson.loads(line))) is not None)
            yield from islice(spoken, most)


def _call(name: str, dialogue: dict[str, Any]) -> dict[str, Any] | None:
    turns = [
        {"role": turn["role"], "at_ms": None, "text": turn["text"]}
        for turn in dialogue["turns"]
        if turn["role"] in ("customer", "agent") and turn.get("text")
    ]
    if not turns:
        return None
    return {
        "callid": f"{name[:4]}-{dialogue['id']}", "user_id": "bench", "customer_id": None,
        "started_at": "2025-06-02T10:00:00+08:00", "duration_ms": 60_000,
        "call_status": "connected", "turns": turns,
    }  # fmt: skip


def _analyzer_rate(calls: Sequence[dict[str, Any]]) -> float:
    analyzer = LocalAnalyzer()
    transcripts = [to_turns(one["turns"]) for one in calls]
    for turns in transcripts[:50]:  # rules and automata are made when they are first used
        analyzer.analyze_turns(turns)
    began = time.process_time()
    for turns in transcripts:
        analyzer.analyze_turns(turns)
    return round(len(transcripts) / (time.process_time() - began), 1)
