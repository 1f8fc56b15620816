"""The whole platform as its first user meets it: start, sign in, import, read, stop, again."""

import gzip
import os
import re
import signal
import socket
import subprocess
import time
from itertools import islice
from pathlib import Path

import psutil
import pytest

from looma_cli import exit_codes
from tests.e2e.conftest import Platforms
from tests.e2e.platform import Platform, until

pytestmark = pytest.mark.slow


def star_sample(shared_data: Path, target: Path, calls: int) -> Path:
    with gzip.open(shared_data / "star_dialogues" / "star.jsonl.gz", "rb") as file:
        target.write_bytes(b"".join(islice(file, calls)))
    return target


def test_from_an_empty_home_to_a_portrait_and_back(platform: Platform, shared_data: Path) -> None:
    platform.up("--replicas", "portrait=2")
    page = platform.out.read_text()
    assert platform.url in page

    # Who is up is told to whoever tries to start a second one.
    line = platform.refusal("up", code=exit_codes.ALREADY_UP)
    assert f"already up on {platform.home}: {platform.url}" in line

    # The password that was shown once opens the door.
    found = re.search(r"sign in\s+(\S+)\s+password\s+(\S+)", page)
    assert found is not None, page
    assert not (platform.home / "first-admin-password").exists()
    with platform.client() as client:
        answer = client.post(
            "/api/v1/auth/login", json={"email": found[1], "password": found[2]}
        ).json()
    admin = answer["data"]["access_token"]

    # A real data set goes in, and portraits come out the same by both ways.
    sample = star_sample(shared_data, platform.cwd / "star.jsonl", 300)
    brought = platform.json("import", str(sample), "--preset", "star")
    assert brought["inserted"] + brought["rejected"] == brought["rows"] == 300
    assert brought["analysed"] > 0
    platform("compute")
    with platform.client(admin) as client:
        calls = client.get("/api/v1/periods?type=month&limit=500").json()["data"]["periods"]
        assert calls
        summary = client.get("/api/v1/portrait/summary?period_type=quarter").json()["data"]
        assert summary["call_stats"]["total_calls"] > 0
    trend = platform.json("trend", "total_calls", "--period-type", "month", "--limit", "500")
    assert sum(point["value"] or 0 for point in trend["series"]) == brought["inserted"]
    with platform.client(platform("token", "--role", "agent").strip()) as client:
        assert client.get("/api/v1/users").status_code == 403

    # A service that dies comes back, and the status says so.
    status = platform.json("status")
    assert status["ready"]
    assert {p["name"] for p in status["processes"]} >= {"gateway", "auth", "enrichment", "portrait"}
    assert all(store["up"] for store in status["stores"].values())
    auth = next(p for p in status["processes"] if p["name"] == "auth")
    os.kill(auth["pid"], signal.SIGKILL)
    assert until(lambda: "auth ended (signal 9)" in platform.err.read_text(), 5)
    assert until(lambda: platform.run("status").returncode == 0, 20)
    assert until(platform.is_ready, 20)

    # A replica has its place in the registry and a log, comes back, and takes requests.
    replica = next(p for p in status["processes"] if p["name"] == "portrait-2")
    os.kill(replica["pid"], signal.SIGKILL)
    assert until(lambda: "portrait-2 ended (signal 9)" in platform.err.read_text(), 5)
    with platform.client(admin) as client:

        def known() -> set[str]:
            upstreams = client.get("/api/v1/gateway/upstreams").json()["data"]["services"]
            portrait = next(one for one in upstreams if one["service"] == "portrait")
            return {one["url"] for one in portrait["instances"] if one["healthy"]}

        urls = {p["url"] for p in status["processes"] if p["name"].startswith("portrait")}
        assert len(urls) == 2
        assert until(lambda: platform.run("status").returncode == 0 and known() == urls, 30)
    assert "serving" in platform("logs", "--service", "portrait-2")

    # Ctrl-C leaves nothing behind.
    assert platform.interrupt() == 0
    assert platform.left_over() == []


def test_a_killed_supervisor_is_recovered_from(platform: Platform) -> None:
    assert platform.run("up", "--detach", "--demo", "--calls", "300").returncode == 0
    status = platform.json("status")
    first = next(p for p in status["processes"] if p["name"] == "supervisor")
    pids = {p["pid"] for p in status["processes"]}
    os.kill(first["pid"], signal.SIGKILL)
    assert until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 15)

    # The stores are still there; the next start finds them, and the demo its data.
    began = time.monotonic()
    done = platform.run("up", "--detach", "--demo", "--calls", "300")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 30
    assert "has its data already" in done.stderr
    assert platform.json("status")["ready"]
    (org,) = platform.json("orgs", "list")
    assert (org["slug"], org["calls"]) == ("demo", 300)

    assert "gateway" in platform.run("down").stderr
    assert platform.left_over() == []


def test_of_two_that_start_at_once_one_starts_and_the_other_says_so(platform: Platform) -> None:
    both = [
        subprocess.Popen(
            [*platform.command, "up", "--detach"], env=platform.env, cwd=platform.cwd,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = {process.wait(120): process.communicate()[1].decode() for process in both}
    assert sorted(said) == [exit_codes.OK, exit_codes.ALREADY_UP], said
    (line,) = said[exit_codes.ALREADY_UP].splitlines()
    assert f"is starting on {platform.home}" in line
    assert platform.json("status")["ready"]
    assert "gateway" in platform.run("down").stderr
    assert platform.left_over() == []


def test_taken_service_ports_do_not_matter(platform: Platform) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        platform.env["AUTH_PORT"] = str(taken.getsockname()[1])
        platform.up()
        with platform.client(platform("token").strip()) as client:
            assert client.get("/api/v1/auth/me").status_code == 200
        assert platform.supervisor is not None
        platform.supervisor.terminate()
        assert platform.supervisor.wait(60) == 0
    assert platform.left_over() == []


def test_platforms_that_start_in_the_same_second_share_no_port(platforms: Platforms) -> None:
    """Homes of their own, the same ports wanted: one has them, the others take the next."""
    several = [platforms.new() for _ in range(3)]
    for one in several:
        one.begin()
    for one in several:
        one.await_up()
    seen = [one.json("status") for one in several]
    assert all(status["ready"] for status in seen)
    urls = [p["url"] for status in seen for p in status["processes"] if p["url"]]
    assert len(urls) == len(set(urls)) == 4 * len(several)
    addresses = [store["address"] for status in seen for store in status["stores"].values()]
    assert len(addresses) == len(set(addresses))
    for one in several:  # and none of them speaks to another's services
        with one.client(one("token").strip()) as client:
            assert client.get("/api/v1/auth/me").status_code == 200
