"""The daily analysis asks models, too, ends where none can be asked, and resumes where it died."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import pooled_analyzer
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.jobs import JOBS
from ai_services.enrichment.work import Work
from shared.jobs.worker import Worker
from shared.telemetry.metrics import Metrics
from tests.ai_services.enrichment.analysis.chain.bench import Bench, spoken
from tests.ai_services.enrichment.test_importing import KEY
from tests.ai_services.enrichment.workshop import Workshop
from tests.shared.jobs.workplace import QUICK, running

DAILY = "llm_analyze_batch"


@pytest.fixture
async def shop(bench: Bench, tmp_path) -> Workshop:
    await bench.reopened(ANALYZER="llm")
    return Workshop(bench.db, bench.url, bench.org_id, tmp_path)


@asynccontextmanager
async def working(bench: Bench):
    """A worker whose jobs have the bench's chain."""
    async with pooled_analyzer(1) as analyzer:
        metrics = Metrics("enrichment", 50)
        counts = OrganisationCounts(metrics)
        analyses = AnalysisMetrics(analyzer.name, counts, metrics.registry)
        work = Work(KEY, analyzer, bench.chain, analyses, counts)
        worker = Worker(
            bench.db, work, JOBS, service="enrichment", registry=CollectorRegistry(), pace=QUICK
        )
        async with running(worker):
            yield


def many(count: int):
    return [spoken(f"c-{n:03d}", f"客户{n}想知道订单什么时候到") for n in range(count)]


async def test_what_waits_is_judged_by_the_model_and_counted(bench: Bench, shop: Workshop) -> None:
    await bench.bring(*many(45))
    async with working(bench):
        told = await shop.result(await shop.ask(DAILY))
        again = await shop.result(await shop.ask(DAILY))
    assert told == {
        "waited": 45, "analysed": 45, "discarded": 0, "by_model": 45, "dead_letters": 0,
        "degraded": 0, "no_model_because": None,
    }  # fmt: skip
    assert (again["waited"], again["by_model"]) == (0, 0)
    assert bench.asked == 3


async def test_without_an_answer_it_ends_and_says_why(bench: Bench, shop: Workshop) -> None:
    await bench.reopened(ANALYZER="llm", ANALYSIS_TRIES="1")
    bench.behave(status=500)
    await bench.bring(*many(5))
    async with working(bench):
        told = await shop.result(await shop.ask(DAILY))
        bench.behave()
        again = await shop.result(await shop.ask(DAILY))
    assert (told["analysed"], told["by_model"], told["degraded"]) == (5, 0, 5)
    assert told["no_model_because"] == "unavailable"
    assert (again["by_model"], again["degraded"]) == (5, 0)


async def test_two_workers_do_it_once(bench: Bench, shop: Workshop) -> None:
    bench.behave(delay_s=0.1)
    await bench.bring(*many(80))
    async with working(bench), working(bench):
        told = await shop.result(await shop.ask(DAILY))
    assert told["by_model"] == 80
    assert bench.asked == 5
