"""The platform on Neo4j, Weaviate and Elasticsearch instead of what it brings along."""

import gzip
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.platform import Platform, until

pytestmark = pytest.mark.slow
SETTINGS = {
    "GRAPH_URL": "TEST_NEO4J_URL",
    "VECTOR_URL": "TEST_WEAVIATE_URL",
    "SEARCH_URL": "TEST_ELASTICSEARCH_URL",
}
SCRIPT = Path(__file__).with_name("recompute_star.py")
CALLS = 600


def real_servers() -> dict[str, str]:
    missing = [name for name in SETTINGS.values() if name not in os.environ]
    if missing:
        pytest.skip(f"{' and '.join(missing)}: not set (docs/development.md)")
    return {setting: os.environ[name] for setting, name in SETTINGS.items()}


def star_sample(shared_data: Path, target: Path) -> Path:
    with gzip.open(shared_data / "star_dialogues" / "star.jsonl.gz", "rb") as file:
        target.write_bytes(gzip.compress(b"".join(islice(file, CALLS))))
    return target


def test_star_on_real_servers_equals_its_recomputation(
    platform: Platform, shared_data: Path
) -> None:
    platform.env |= real_servers()
    star = star_sample(shared_data, platform.cwd / "star.jsonl.gz")
    platform.up()
    platform.run("import", str(star), "--preset", "star")
    platform("compute")
    token = platform("token").strip()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(star), platform.url, token],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with platform.client(token) as client:

        def found() -> list[dict[str, str]]:
            answer = client.get("/api/v1/calls/search", params={"q": "apartment"})
            return answer.json()["data"]["hits"] if answer.status_code == 200 else []

        assert until(lambda: bool(found()), 60)
        assert client.get(f"/api/v1/calls/{found()[0]['callid']}").json()["data"]["turns"]
    # Everything has gone where it is kept beside PostgreSQL, and nothing was given up.
    assert until(lambda: waiting(platform) == {(0, 0)}, 60), platform.json("status")["outbox"]
    assert platform.interrupt() == 0
    assert platform.left_over() == []


def waiting(platform: Platform) -> set[tuple[int, int]]:
    depths = platform.json("status")["outbox"].values()
    return {(depth["waiting"], depth["dead"]) for depth in depths}
