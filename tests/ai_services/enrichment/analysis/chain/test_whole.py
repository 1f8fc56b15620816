"""The service with a model: what is posted has a verdict of words at once, and the model's soon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from ai_services.enrichment.app import create_service
from shared.config import Config
from shared.security import InternalTokens, Principal
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Bench, spoken
from tests.ai_services.enrichment.test_calls_api import until


async def test_a_posted_call_is_judged_by_words_and_then_by_the_model(
    bench: Bench, graph_url: str, tmp_path: Path
) -> None:
    settings = {
        **bench.settings,
        "LOOMA_HOME": str(tmp_path / "home"),
        "GRAPH_URL": graph_url,
        "ANALYZER": "llm",
        "ANALYSIS_WAIT_SECONDS": "1",
    }
    bench.behave(status=500)
    principal = Principal(bench.org_id, "user:1", "analyst", "user")
    token = InternalTokens(b"s" * 64).mint(principal, "enrichment")
    async with (
        create_service(Config.from_env(settings)).running(port=0) as url,
        httpx.AsyncClient(
            base_url=url, headers={INTERNAL_TOKEN_HEADER: token}, timeout=30
        ) as client,
    ):
        body = {"records": [spoken("a", "我想问一下我的订单", COMPLAINS)]}
        assert (await client.post("/api/v1/calls", json=body)).status_code == 200

        async def analysed() -> Any:
            call = (await client.get("/api/v1/calls/a")).json()["data"]
            return call if call["insights"] else None

        async def by_model() -> Any:
            call = await analysed()
            return call if call["analyzer"].startswith("llm:") else None

        first = await until(analysed, 60)
        assert first["analyzer"].startswith("local")
        assert (first["insights"]["degraded"], first["insights"]["waits"]) == (True, True)
        bench.behave()
        call = await until(by_model, 60)
        measured = (await client.get("/metrics")).text
    assert (call["sentiment"], call["insights"]["step"]) == ("negative", "model")
    assert call["insights"]["degraded"] is False
    assert call["insights"]["summary"] == "A call of 3 turns."
    steps = re.findall(
        r'^analysis_judged_total\{.*outcome="(\w+)".*\} 1\.0$', measured, re.MULTILINE
    )
    assert sorted(steps) == ["fallback", "model"]
