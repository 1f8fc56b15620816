"""What a machine takes from a core that is busy: the gaps in which a loop that never waits stood still.

A shared machine lends its cores out again for milliseconds at a time, and no program that runs on
one can answer meanwhile. `python -m benchmarks.gateway_stalls SECONDS` prints the gaps.
"""

from __future__ import annotations

import sys
import time
from subprocess import TimeoutExpired
from typing import Final

import orjson

from benchmarks.gateway_host import Host, NotMeasured

_SHORTEST_S: Final = 0.0005
_PATIENCE_S: Final = 10.0  # for the start of the other process


def stalls(seconds: float) -> list[float]:
    """Seconds of each gap on the core of this process."""
    gaps: list[float] = []
    last = time.perf_counter()
    end = last + seconds
    while last < end:
        now = time.perf_counter()
        if now - last > _SHORTEST_S:
            gaps.append(now - last)
        last = now
    return gaps


def on_proxy_core(host: Host, seconds: float) -> list[float]:
    """Those on the core of the proxies, which are idle, while both cores are busy."""
    command = [sys.executable, "-m", "benchmarks.gateway_stalls", str(seconds)]
    child = host.start("stalls", command, proxy=True)
    stalls(seconds)
    try:
        child.process.wait(seconds + _PATIENCE_S)
        return [float(gap) for gap in orjson.loads(child.log.read_bytes())]
    except (TimeoutExpired, ValueError) as error:
        raise NotMeasured("the stalls of the machine can't be told") from error
    finally:
        host.end(child)


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(stalls(float(sys.argv[1]))))
