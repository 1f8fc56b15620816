"""Closed-loop load by wrk: as many requests as so many connections can carry."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

import orjson

from benchmarks.edge.host import NotMeasured

_PATIENCE_S: Final = 15
_MISSING: Final = (
    "wrk, the load generator of this benchmark, is not installed. "
    "Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk."
)
# Percentiles in full; wrk's own text rounds them.
_REPORT: Final = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests":%d,"us":%d,"bytes":%d,"p50":%d,"p99":%d,"failed":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_POST: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"text": "' .. string.rep("x", 1012) .. '"}'
"""
_BODY: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open("%s", "rb"):read("*a")
"""
_VARIED: Final = """
local number = 0
function request()
  number = number + 1
  wrk.headers["X-Number"] = number
  return wrk.format()
end
"""
# Every line of a file is a path and a token; requests are built before the clock starts.
_MIXED: Final = """
local requests = {}
function init(args)
  math.randomseed(7)
  for line in io.lines("%s") do
    local path, token = line:match("(%%S+) (%%S+)")
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format("GET", path)
  end
end
function request()
  return requests[math.random(#requests)]
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run, or the medians of several."""

    rps: float
    p50_ms: float
    p99_ms: float
    mb_per_s: float
    requests: float
    seconds: float

    @classmethod
    def median(cls, loads: Sequence[Self]) -> Self:
        columns = zip(*(astuple(one) for one in loads), strict=True)
        return cls(*(statistics.median(column) for column in columns))


class Wrk:
    """One wrk process with one thread at a time, on the core of this process."""

    def __init__(self, folder: Path, token: str) -> None:
        found = shutil.which("wrk")
        if found is None:
            sys.exit(_MISSING)
        self._program = found
        self._folder = folder
        self._token = token

    def get(self, url: str, seconds: int, connections: int = 32) -> Load:
        return self._measure(url, seconds, connections, self._script("get", ""))

    def post_1kb(self, url: str, seconds: int, connections: int = 32) -> Load:
        return self._measure(url, seconds, connections, self._script("post", _POST))

    def post(self, url: str, body: bytes, seconds: int, connections: int) -> Load:
        """The same JSON body over and over."""
        path = self._folder / "body.json"
        path.write_bytes(body)
        return self._measure(url, seconds, connections, self._script("post-body", _BODY % path))

    def get_mixed(
        self, url: str, lines: Sequence[tuple[str, str]], seconds: int, connections: int = 32
    ) -> Load:
        """Requests drawn at random from `lines` of (path, token)."""
        name = f"mixed-{len(lines)}"
        table = self._folder / f"{name}.txt"
        table.write_text("".join(f"{path} {token}\n" for path, token in lines))
        return self._measure(url, seconds, connections, self._script(name, _MIXED % table))

    def get_varied(self, url: str, seconds: int, connections: int = 32) -> Load:
        """Requests of which each has a header that no other has."""
        return self._measure(url, seconds, connections, self._script("varied", _VARIED))

    def _script(self, name: str, text: str) -> Path:
        path = self._folder / f"{name}.lua"
        path.write_text(text + _REPORT)
        return path

    def _measure(self, url: str, seconds: int, connections: int, script: Path) -> Load:
        command = [
            self._program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
            "-H", f"Authorization: Bearer {self._token}", "-s", str(script), url,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=seconds + _PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise NotMeasured(f"wrk did not end within {error.timeout:g} s") from error
        if done.returncode != 0:
            raise NotMeasured(f"wrk failed: {(done.stderr or done.stdout).decode()[-300:].strip()}")
        told = orjson.loads(done.stdout.strip().splitlines()[-1])
        if told["failed"]:
            raise NotMeasured(f"{told['failed']} of {told['requests']} requests failed at {url}")
        if not told["requests"]:
            raise NotMeasured(f"nothing was answered within {seconds} s at {url}")
        taken = told["us"] / 1e6
        return Load(
            rps=told["requests"] / taken,
            p50_ms=told["p50"] / 1e3,
            p99_ms=told["p99"] / 1e3,
            mb_per_s=told["bytes"] / taken / 1e6,
            requests=told["requests"],
            seconds=taken,
        )
