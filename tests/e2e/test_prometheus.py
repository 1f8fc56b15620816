"""A real Prometheus with the platform's configuration, before the real services."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from shared.services import PROCESSES, SERVICES
from tests.e2e.real_services import RealServices
from tests.gateway.wire import until
from tests.monitoring.prometheus_files import FOLDER, NODE_EXPORTER, RECORDED, document, metrics_of
from tests.monitoring.test_dashboards import queries

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus here: apt-get install prometheus"),
]
WINDOWS_S = 25  # until rates over what a test has can be told


class Prometheus:
    """Its HTTP API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def query(self, expression: str) -> list[dict[str, Any]]:
        got = await self.client.get("/api/v1/query", params={"query": expression})
        assert got.status_code == 200, got.text
        return list(got.json()["data"]["result"])

    async def targets(self) -> dict[str, set[str]]:
        """Job → services of which a target is up."""
        found: dict[str, set[str]] = {}
        for one in (await self.client.get("/api/v1/targets")).json()["data"]["activeTargets"]:
            if one["health"] == "up":
                found.setdefault(one["labels"]["job"], set()).add(one["labels"]["service"])
        return found


def configuration(whole: RealServices, targets: dict[str, str]) -> dict[str, Any]:
    """The platform's, with the addresses of this test and once a second."""
    config = document(FOLDER / "prometheus.yml")
    config["global"] |= {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    config["rule_files"] = [str(FOLDER / "rules" / "*.yml")]
    del config["alerting"]
    looma, services, _ = config["scrape_configs"]
    (discovery,) = looma["http_sd_configs"]
    discovery |= {"url": f"{whole.url}/internal/targets", "refresh_interval": "1s"}
    # On a free port here, which it doesn't announce.
    looma["static_configs"] = [
        {"targets": [targets["gateway"]], "labels": {"service": "gateway", "version": "1"}}
    ]
    for one in services["static_configs"]:
        one["targets"] = [targets[one["labels"]["service"]]]
    config["scrape_configs"] = [looma, services]
    return config


@asynccontextmanager
async def running(config: dict[str, Any], folder: Path, port: int) -> AsyncIterator[Prometheus]:
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{port}"
    assert PROMETHEUS is not None
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://{address}", timeout=5) as client:

                async def ready() -> bool:
                    try:
                        return (await client.get("/-/ready")).status_code == 200
                    except httpx.TransportError:
                        return False

                await until(ready, 20)
                yield Prometheus(client)
        finally:
            process.terminate()
            await process.wait()


@pytest.fixture
async def prometheus(
    whole: RealServices, tmp_path: Path, free_port: int
) -> AsyncIterator[Prometheus]:
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{whole.url}/internal/targets")).json()
    targets = {group["labels"]["service"]: group["targets"][0] for group in told}
    targets["gateway"] = urlsplit(whole.url).netloc
    async with running(configuration(whole, targets), tmp_path, free_port) as started:
        yield started


LOAD: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/api/v1/calls", None),
    ("GET", "/api/v1/portrait/summary?period_type=month", None),
    ("GET", "/api/v1/users", None),
    ("POST", "/api/v1/auth/login", {"email": "nobody@looma.test", "password": "not a password"}),
    ("POST", "/api/v1/calls", {"records": []}),
    ("POST", "/api/v1/admin/compute", {}),
)


async def load(whole: RealServices) -> None:
    async with whole.client() as client:
        for method, path, body in LOAD:
            got = await client.request(method, path, json=body)
            assert got.status_code < 500, got.text


async def test_it_scrapes_every_process_once_and_its_rules_find_their_series(
    whole: RealServices, prometheus: Prometheus
) -> None:
    everybody = {one.name for one in PROCESSES}

    async def all_up() -> bool:
        return await prometheus.targets() == {"looma": everybody, "services": everybody}

    await until(all_up, 30)
    for _ in range(WINDOWS_S):
        await load(whole)
        await asyncio.sleep(1)

    for rule in [
        rule
        for group in (await prometheus.client.get("/api/v1/rules")).json()["data"]["groups"]
        for rule in group["rules"]
    ]:
        assert rule["health"] == "ok", rule
    for name in sorted(RECORDED):
        assert await prometheus.query(f"{name} >= 0"), f"{name} has no series"
    served = await prometheus.query("service:requests:rate5m > 0")
    assert {one["metric"]["service"] for one in served} == everybody

    for panel, query in queries():
        if not metrics_of(query) & NODE_EXPORTER:
            assert await prometheus.query(query), f"{panel} shows nothing: {query}"

    # Labels are those by which the rules read.
    services = {one.name for one in SERVICES}
    for metric in ("circuit_state", "gateway_upstream_instances", "gateway_shed_total"):
        found = await prometheus.query(f'{metric}{{job="looma",service="gateway"}}')
        assert {one["metric"]["upstream"] for one in found} == services, metric
    assert await prometheus.query('circuit_state{upstream_instance!="",instance!=""}')
    assert await prometheus.query('{__name__=~".+",exported_service!=""}') == []
    assert await prometheus.query('{job="services",__name__=~"http_.+|process_.+"}') == []
    down = await prometheus.query('store_up{job="looma"} == 0')
    assert down == []
    page = (await prometheus.client.get("/metrics")).text
    for line in ("duplicate_timestamp", "out_of_order"):
        assert f"prometheus_target_scrapes_sample_{line}_total 0" in page
