"""The service killed in the middle of its work: the ledger still knows of all that a provider bills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import pytest

from ai_services.llm.spend.sweep import sweep
from benchmarks.model_server import ModelServer
from shared.config import process_environment
from shared.data_access.ports import Row
from shared.security import InternalTokens, Principal
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.llm.conftest import MODELS, SECRET
from tests.ai_services.llm.spend.books import Organisation, assert_law

ROOT = Path(__file__).parents[3]
CLIENTS = 12


@pytest.fixture
def settings(
    tmp_path: Path, model: ModelServer, llm_database_url: str, redis_url: str
) -> dict[str, str]:
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=model.url))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "LOOMA_HOME": str(tmp_path),
        "DATABASE_URL": llm_database_url,
        "REDIS_URL": redis_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "LLM_MODELS": str(models),
        "LLM_KEY_LOOPBACK": "sk-upstream",
        "LLM_PORT": str(port),
        "LOG_LEVEL": "warning",
    }


@asynccontextmanager
async def process(settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own, serving."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ai_services.llm", cwd=ROOT, env=process_environment(**settings)
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"http://127.0.0.1:{settings['LLM_PORT']}/ready")
                    if answer.status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def ask_until_cancelled(settings: dict[str, str], organisation: Organisation) -> None:
    """One client after the other; the service may go away under any of them."""
    principal = Principal(organisation.org_id, f"user:{uuid4()}", "analyst", "user")
    headers = {INTERNAL_TOKEN_HEADER: InternalTokens(SECRET.encode()).mint(principal, "llm")}
    url = f"http://127.0.0.1:{settings['LLM_PORT']}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
        while True:
            body = {
                "model": "gpt",
                "messages": [{"role": "user", "content": "x" * random.randint(1, 200)}],
                "max_tokens": 200,
                "stream": random.random() < 0.5,
            }
            with contextlib.suppress(httpx.TransportError):
                await client.post("/v1/chat/completions", json=body)
            await asyncio.sleep(0.005)


async def until_asked(model: ModelServer, times: int) -> None:
    async with asyncio.timeout(60):
        while len(model.bills) < times:  # noqa: ASYNC110 - another process asks
            await asyncio.sleep(0.001)


async def settled_by_the_sweep(organisation: Organisation) -> list[Row]:
    """The ledger once the leases of all that was left behind have ended."""
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute(
            "UPDATE cost_ledgers SET lease_until = now() - interval '1 second' WHERE settled_at IS NULL"
        )
    await sweep(organisation.db)
    async with organisation.db.tenant(organisation.org_id) as tx:
        return await tx.fetch("SELECT * FROM cost_ledgers")


async def killed(
    kills: int, settings: dict[str, str], organisation: Organisation, model: ModelServer
) -> Counter[str]:
    """Kill the service so many times at random points; the outcomes that the ledger has at the end."""
    model.behave("upstream-gpt", words=30, delay_s=0.01, pause_s=0.002)
    for _ in range(kills):
        async with process(settings) as child:
            clients = [
                asyncio.create_task(ask_until_cancelled(settings, organisation))
                for _ in range(CLIENTS)
            ]
            await until_asked(model, len(model.bills) + random.randint(CLIENTS, 80))
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
    rows = {str(row["attempt_id"]): row for row in await settled_by_the_sweep(organisation)}
    for bill in model.bills:
        row = rows[bill.attempt]  # nothing was asked that had not been reserved
        if row["outcome"] == "ok":
            assert (row["input_tokens"], row["output_tokens"]) == (bill.input, bill.output)
        else:
            assert row["source"] in {"estimate", "counted"}
            if row["source"] == "estimate":
                assert row["input_tokens"] >= bill.input
                assert row["output_tokens"] >= bill.output
    return Counter(row["outcome"] for row in rows.values())


@pytest.mark.slow
async def test_a_killed_service_has_reserved_whatever_was_asked(
    settings: dict[str, str], organisation: Organisation, model: ModelServer
) -> None:
    outcomes = await killed(1, settings, organisation, model)
    assert outcomes["unknown"] > 0


@pytest.mark.slow
async def test_twenty_kills_lose_nothing_of_the_ledger(
    settings: dict[str, str], organisation: Organisation, model: ModelServer
) -> None:
    outcomes = await killed(20, settings, organisation, model)
    assert outcomes["ok"] > 100
    assert outcomes["unknown"] > 20


async def batched(settings: dict[str, str], organisation: Organisation, kills: int) -> str:
    """A batch whose service is killed so many times while it is looked after; how it ended."""
    principal = Principal(organisation.org_id, f"user:{uuid4()}", "analyst", "user")
    headers = {INTERNAL_TOKEN_HEADER: InternalTokens(SECRET.encode()).mint(principal, "llm")}
    url = f"http://127.0.0.1:{settings['LLM_PORT']}"
    batch = ""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        for left in reversed(range(kills + 1)):
            async with process(settings) as child:
                if not batch:
                    batch = await batch_of(client, 20)
                await free(organisation)
                if left:
                    await asyncio.sleep(random.uniform(0, 0.3))
                    os.kill(child.pid, signal.SIGKILL)
                    await child.wait()
                    continue
                async with asyncio.timeout(30):
                    while True:
                        told = (await client.get(f"/v1/batches/{batch}")).json()
                        if told["status"] in ("completed", "failed", "expired"):
                            return str(told["status"])
                        await asyncio.sleep(0.1)
    raise AssertionError


async def batch_of(client: httpx.AsyncClient, lines: int) -> str:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
    about = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    content = b"\n".join(orjson.dumps({"custom_id": str(n), **about}) for n in range(lines))
    sent = await client.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)}
    )
    wanted = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions"}
    return str((await client.post("/v1/batches", json=wanted)).json()["id"])


async def free(organisation: Organisation) -> None:
    """As if the lease of whoever was killed were over."""
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("UPDATE llm_batch SET held_until = now(), next_look_at = now()")


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2, 4])
async def test_a_killed_service_sends_a_batch_once_and_pays_each_line_once(
    settings: dict[str, str], organisation: Organisation, model: ModelServer, kills: int
) -> None:
    await organisation.set_budget("10")
    assert await batched(settings, organisation, kills) == "completed"
    assert len(model.batches.batches) == 1
    rows = {str(row["attempt_id"]): row for row in await settled_by_the_sweep(organisation)}
    assert Counter(bill.attempt for bill in model.bills) == Counter(list(rows))
    for bill in model.bills:
        row = rows[bill.attempt]
        assert (row["outcome"], row["output_tokens"]) == ("ok", bill.output)
    await assert_law(organisation)
