"""4,989 real dialogues from the file to the gateway's answers, recomputed independently."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.platform import Platform, until

SCRIPT = Path(__file__).with_name("recompute_star.py")


def test_every_star_portrait_equals_its_recomputation(
    platform: Platform, shared_data: Path
) -> None:
    star = platform.cwd / "star.jsonl.gz"  # rejected rows are written beside it
    shutil.copyfile(shared_data / "star_dialogues" / "star.jsonl.gz", star)
    platform.up()
    page = platform.out.read_text()
    email, password = page.split("sign in")[1].split()[0], page.split("password")[1].split()[0]
    platform.run("import", str(star), "--preset", "star")
    platform("compute")
    with platform.client() as client:
        answer = client.post("/api/v1/auth/login", json={"email": email, "password": password})
    token = answer.json()["data"]["access_token"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(star), platform.url, token],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" 0 differences\n")
    with platform.client(token) as client:
        found = client.get("/api/v1/calls/search", params={"q": "apartment balcony"}).json()["data"]
        assert found["hits"]
        callid = found["hits"][0]["callid"]
        assert client.get(f"/api/v1/calls/{callid}").json()["data"]["turns"]
        refused = client.get("/api/v1/calls/no-such-call").json()["request_id"]
    a_failed_request_is_found_in_all_processes(platform, refused)
    assert platform.interrupt() == 0
    assert platform.left_over() == []


def a_failed_request_is_found_in_all_processes(platform: Platform, request_id: str) -> None:
    def lines(option: str, identifier: str) -> list[dict[str, object]]:
        return [
            json.loads(line) for line in platform("logs", option, identifier, "--json").splitlines()
        ]

    assert until(lambda: "gateway" in platform("logs", "--request", request_id), 5)
    found = lines("--request", request_id)
    assert {line["process"]: line["status"] for line in found} == {
        "gateway": 404,
        "enrichment": 404,
    }
    (trace,) = {str(line["trace_id"]) for line in found}
    assert lines("--trace", trace) == found
    nobody = platform.run("logs", "--request", request_id[::-1])
    assert (nobody.returncode, nobody.stdout) == (1, "")
