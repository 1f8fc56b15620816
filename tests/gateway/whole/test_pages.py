"""Health, readiness and metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from gateway.own_api.health import overall
from shared.services import SERVICE_NAMES
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import Received, always, answer, served


@pytest.mark.parametrize(
    ("states", "all_in_all"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "down"], "degraded"),
        (["ok", "degraded"], "degraded"),
        (["degraded", "down"], "degraded"),
        (["down", "down"], "down"),
        ([], "down"),
    ],
)
def test_all_in_all(states: list[str], all_in_all: str) -> None:
    assert overall(states) == all_in_all


async def test_health_tells_of_every_instance_without_its_address(platform: Platform) -> None:
    got = await platform.client.get("/health")
    body = got.json()
    assert (got.status_code, body["status"], body["service"]) == (200, "ok", "gateway")
    assert set(body["services"]) == set(SERVICE_NAMES)
    (instance,) = body["services"]["portrait"]["instances"]
    assert instance["status"] == "up"
    assert 0 <= instance["latency_ms"] < 3000
    assert platform.portrait.url.rpartition(":")[2] not in got.text


async def test_health_is_asked_of_the_services_once_a_second_at_most(platform: Platform) -> None:
    await asyncio.sleep(1.1)
    platform.portrait.requests.clear()
    await asyncio.gather(*(platform.client.get("/health") for _ in range(10)))
    assert len(platform.portrait.requests) == 1


async def test_health_stays_200_while_services_are_down(tmp_path: Path, redis_at: str) -> None:
    async with (
        platform_in(tmp_path, REDIS_URL=redis_at) as own,
        served(always(answer(500, b"{}"))) as broken,
    ):
        await own.portrait.stop()
        body = (await own.client.get("/health")).json()
        assert body["status"] == "degraded"
        assert body["services"]["portrait"]["status"] == "down"
        assert body["services"]["portrait"]["instances"][0]["reason"]
        own.enrichment.behaviour = broken.behaviour
        for name in set(SERVICE_NAMES) - {"portrait", "enrichment"}:
            await own.wires[name].stop()
        await asyncio.sleep(1.1)
        got = await own.client.get("/health")
        assert (got.status_code, got.json()["status"]) == (200, "down")
        assert got.json()["services"]["enrichment"]["instances"][0]["reason"] == "answers 500"


async def hang(_received: Received, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def test_health_does_not_wait_for_a_service_that_hangs(platform: Platform) -> None:
    """Whether the gateway lives is asked with 2 s to answer (docker/Dockerfile)."""
    platform.portrait.behaviour, before = hang, platform.portrait.behaviour
    try:
        await asyncio.sleep(1.1)
        got = await asyncio.wait_for(platform.client.get("/health"), 2)
    finally:
        platform.portrait.behaviour = before
    assert (got.status_code, got.json()["status"]) == (200, "degraded")
    (instance,) = got.json()["services"]["portrait"]["instances"]
    assert instance["reason"] == "no answer within 1 s"


async def test_ready_says_what_it_needs(platform: Platform) -> None:
    got = await platform.client.get("/ready")
    assert got.status_code == 200
    assert got.json()["checks"] == {"signing_keys": "up", "registry": "up"}


async def test_own_pages_answer_head_and_get_only(platform: Platform) -> None:
    got = await platform.client.head("/health")
    assert (got.status_code, got.content) == (200, b"")
    assert (await platform.client.delete("/metrics")).status_code == 405


def value(page: str, line: str) -> float:
    (found,) = [row for row in page.splitlines() if row.startswith(line)]
    return float(found.rpartition(" ")[2])


async def metrics(platform: Platform) -> str:
    return (await platform.client.get("/metrics")).text


async def test_requests_are_counted_by_template_and_never_by_path(platform: Platform) -> None:
    for number in range(3):
        await platform.get(f"/api/v1/calls/call-{number}")
    await platform.client.get("/made/up/path-1")
    await platform.client.request("BREW", "/made/up/path-2")
    page = await metrics(platform)
    labels = 'method="GET",route="/api/v1/calls/{callid}"'
    assert value(page, f'http_requests_total{{{labels},service="gateway",status="200"}}') >= 3
    assert value(page, f"gateway_overhead_seconds_count{{{labels}}}") >= 3
    assert (
        value(page, f'upstream_request_duration_seconds_count{{{labels},service="enrichment"}}')
        >= 3
    )
    other = 'http_requests_total{method="OTHER",route="(unmatched)",service="gateway",status="404"}'
    assert value(page, other) >= 1
    assert value(page, 'gateway_upstream_instances{service="portrait"}') == 1
    assert value(page, "gateway_revocations_age_seconds") >= -1
    assert "call-1" not in page
    assert "path-" not in page
    assert "BREW" not in page


async def test_failures_are_counted_as_what_they_were(platform: Platform) -> None:
    await platform.client.get("/api/v1/portrait/summary")
    await platform.get("/api/v1/portrait/summary", role="agent")
    platform.behave(always(answer(500, b"{}")))
    await platform.get("/api/v1/portrait/summary")
    page = await metrics(platform)
    labels = 'method="GET",route="/api/v1/portrait/summary",service="gateway"'
    for status in (401, 403, 500):
        assert value(page, f'http_requests_total{{{labels},status="{status}"}}') >= 1


async def test_a_client_that_goes_away_is_counted_as_499(platform: Platform) -> None:
    async def silence(_received: object, _writer: object) -> None:
        await asyncio.sleep(5)

    platform.behave(silence)
    with pytest.raises(httpx.ReadTimeout):
        await platform.client.get(
            "/api/v1/portrait/trend", headers=platform.auth.bearer(), timeout=0.1
        )
    await asyncio.sleep(0.1)
    labels = 'method="GET",route="/api/v1/portrait/trend",service="gateway",status="499"'
    assert value(await metrics(platform), f"http_requests_total{{{labels}}}") >= 1


async def test_an_answer_that_was_cut_is_counted(platform: Platform) -> None:
    async def dies(_received: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    platform.behave(dies)
    with pytest.raises(httpx.RemoteProtocolError):
        await platform.get("/api/v1/portrait/summary")
    page = await metrics(platform)
    assert value(page, 'gateway_answers_cut_total{service="portrait"}') >= 1
    labels = 'method="GET",route="/api/v1/portrait/summary",service="gateway",status="502"'
    assert value(page, f"http_requests_total{{{labels}}}") >= 1


async def test_a_stopping_gateway_says_so_while_it_still_answers(
    tmp_path: Path, redis_at: str
) -> None:
    async with httpx.AsyncClient() as client:
        async with platform_in(tmp_path, REDIS_URL=redis_at, DRAIN_DELAY_SECONDS="2") as own:

            async def watch() -> tuple[list[str], list[int]]:
                states, answers = list[str](), list[int]()
                while "draining" not in states:
                    await asyncio.sleep(0.1)
                    states.append((await client.get(f"{own.url}/ready")).json()["status"])
                    got = await client.get(f"{own.url}/api/v1/calls", headers=own.auth.bearer())
                    answers.append(got.status_code)
                return states, answers

            watching = asyncio.create_task(watch())
        _, answers = await watching
    assert set(answers) == {200}
