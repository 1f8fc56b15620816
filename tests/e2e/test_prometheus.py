"""A real Prometheus with the platform's configuration, before the real services."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.services import PROCESSES, SERVICES
from tests.e2e.real_services import MODEL, RealServices
from tests.gateway.wire import until
from tests.monitoring.prometheus_files import (
    BACKUPS,
    CERTIFICATES,
    FOLDER,
    RECORDED,
    ROOT,
    document,
    metrics_of,
)
from tests.monitoring.prometheus_files import NODE_EXPORTER as MACHINE
from tests.monitoring.test_dashboards import choices, queries

PROMETHEUS = shutil.which("prometheus")
NODE_EXPORTER = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
BLACKBOX = shutil.which("prometheus-blackbox-exporter") or shutil.which("blackbox_exporter")
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
        found: dict[str, set[str]] = {"looma": set(), "services": set()}
        for one in (await self.client.get("/api/v1/targets")).json()["data"]["activeTargets"]:
            if one["health"] == "up":
                found.setdefault(one["labels"]["job"], set()).add(one["labels"].get("service", ""))
        return found


@dataclass(frozen=True)
class Beside:
    """Where the exporters listen that the machine has, and a server whose certificate is asked for."""

    machine: str | None
    certificates: str | None
    tls: str


def configuration(
    whole: RealServices, targets: dict[str, str], beside: Beside, folder: Path
) -> dict[str, Any]:
    """The platform's, with the addresses of this test and every two seconds."""
    config = document(FOLDER / "prometheus.yml")
    config["global"] |= {
        "scrape_interval": "2s",
        "scrape_timeout": "2s",
        "evaluation_interval": "2s",
    }
    config["rule_files"] = [str(FOLDER / "rules" / "*.yml")]
    del config["alerting"]
    looma, services, machine, certificates = config["scrape_configs"]
    (discovery,) = looma["http_sd_configs"]
    discovery |= {"url": f"{whole.url}/internal/targets", "refresh_interval": "1s"}
    # On a free port here, which it doesn't announce.
    looma["static_configs"] = [
        {"targets": [targets["gateway"]], "labels": {"service": "gateway", "version": "1"}}
    ]
    for one in services["static_configs"]:
        one["targets"] = [targets[one["labels"]["service"]]]
    config["scrape_configs"] = [looma, services]
    if beside.machine is not None:
        machine["static_configs"] = [{"targets": [beside.machine]}]
        config["scrape_configs"].append(machine)
    if beside.certificates is not None:
        certificates["scrape_interval"] = "2s"
        asked = folder / "certificates.yml"
        asked.write_text(yaml.safe_dump([{"targets": [beside.tls]}]))
        (source,) = certificates["file_sd_configs"]
        source["files"] = [str(asked)]
        certificates["relabel_configs"][-1]["replacement"] = beside.certificates
        config["scrape_configs"].append(certificates)
    return config


@asynccontextmanager
async def exporter(program: str | None, *arguments: str) -> AsyncIterator[str | None]:
    """Where it listens; None where the machine doesn't have it."""
    if program is None:
        yield None
        return
    address = f"127.0.0.1:{unused_port()}"
    process = await asyncio.create_subprocess_exec(
        program, f"--web.listen-address={address}", *arguments, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield address
    finally:
        process.terminate()
        await process.wait()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def beside(folder: Path) -> AsyncIterator[Beside]:
    """The node exporter with a backup's metric, and the blackbox exporter with our modules."""
    (folder / "textfiles").mkdir()
    (folder / "textfiles" / "looma_backup.prom").write_text(
        f"looma_backup_last_success_timestamp_seconds {int(time.time())}\n"
        "looma_backup_size_bytes 51200\n"
    )
    certificate = self_signed(folder)
    modules = document(ROOT / "docker" / "blackbox.yml")
    # The authority of this test's certificate.
    modules["modules"]["tls"]["tcp"]["tls_config"] = {"ca_file": str(certificate)}
    (folder / "blackbox.yml").write_text(yaml.safe_dump(modules))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        exporter(
            NODE_EXPORTER, f"--collector.textfile.directory={folder / 'textfiles'}"
        ) as machine,
        exporter(BLACKBOX, f"--config.file={folder / 'blackbox.yml'}") as certificates,
    ):
        yield Beside(machine, certificates, f"localhost:{port}")


def self_signed(folder: Path) -> Path:
    """A certificate for localhost with its key, valid for ten days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


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
    async with beside(tmp_path) as there:
        config = configuration(whole, targets, there, tmp_path)
        async with running(config, tmp_path, free_port) as started:
            yield started


SAID = [{"role": "user", "content": "hello"}]
LOAD: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/api/v1/calls", None),
    ("GET", "/api/v1/portrait/summary?period_type=month", None),
    ("GET", "/api/v1/users", None),
    ("GET", "/api/v1/jobs", None),
    ("POST", "/api/v1/auth/login", {"email": "nobody@looma.test", "password": "not a password"}),
    ("POST", "/api/v1/calls", {"records": []}),
    ("POST", "/api/v1/admin/compute", {}),
    ("GET", "/api/v1/costs", None),
    ("POST", "/v1/chat/completions", {"model": MODEL, "messages": SAID}),
    ("POST", "/v1/chat/completions", {"model": MODEL, "messages": SAID, "stream": True}),
)


def call_to_judge() -> dict[str, Any]:
    return {
        "callid": uuid4().hex,
        "user_id": "team-7",
        "started_at": "2025-03-05T10:00:00+08:00",
        "duration_ms": 42_000,
        "call_status": "connected",
        "turns": [{"role": "customer", "text": "太慢了，我要投诉"}],
    }


async def load(whole: RealServices) -> None:
    brought_in = ("POST", "/api/v1/calls", {"records": [call_to_judge()]})
    async with whole.client() as client:
        for method, path, body in (*LOAD, brought_in):
            got = await client.request(method, path, json=body)
            assert got.status_code < 500, got.text


async def organisation_chosen(prometheus: Prometheus, slug: str) -> str:
    """The value of the variable that Grafana shows by this name."""
    found: list[dict[str, Any]] = []

    async def named() -> bool:
        found[:] = [
            one["metric"]
            for one in await prometheus.query(choices())
            if one["metric"].get("slug") == slug
        ]
        return bool(found)

    await until(named, 30)
    (one,) = found
    return str(one["organisation"])


async def shown(prometheus: Prometheus, query: str) -> bool:
    """Whether it finds something; some gauges are measured every half minute only."""

    async def there() -> bool:
        return bool(await prometheus.query(query))

    try:
        await until(there, 40)
    except TimeoutError:
        return False
    return True


def missing_here() -> frozenset[str]:
    """The metrics of exporters that this machine doesn't have."""
    return frozenset(
        (*(() if NODE_EXPORTER else (*MACHINE, *BACKUPS)), *(() if BLACKBOX else CERTIFICATES))
    )


async def test_it_scrapes_every_process_once_and_its_rules_find_their_series(
    whole: RealServices, prometheus: Prometheus
) -> None:
    everybody = {one.name for one in PROCESSES}

    async def all_up() -> bool:
        found = await prometheus.targets()
        return (found["looma"], found["services"]) == (everybody, everybody)

    await until(all_up, 60)
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

    chosen = await organisation_chosen(prometheus, "tested")
    empty = [
        f"{panel}: {query}"
        for panel, query in queries(chosen)
        if not metrics_of(query) & missing_here() and not await shown(prometheus, query)
    ]
    assert empty == []

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


@pytest.mark.parametrize(
    ("program", "metrics"),
    [
        pytest.param(NODE_EXPORTER, MACHINE | BACKUPS, id="node exporter"),
        pytest.param(BLACKBOX, CERTIFICATES, id="blackbox exporter"),
    ],
)
async def test_what_exporters_tell_is_what_is_read(
    program: str | None, metrics: frozenset[str], prometheus: Prometheus
) -> None:
    if program is None:
        pytest.skip(
            "not here: apt-get install prometheus-node-exporter prometheus-blackbox-exporter"
        )
    for metric in metrics:

        async def there(metric: str = metric) -> bool:
            return bool(await prometheus.query(metric))

        await until(there, 20)
    if program == BLACKBOX:  # ten days are fewer than two weeks
        ends = "probe_ssl_earliest_cert_expiry - time() < 14 * 86400"
        assert await prometheus.query(ends)
        assert await prometheus.query("probe_success == 1")
