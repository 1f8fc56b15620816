"""One of several processes that write the same new labels and types at the same moment.

    python -m tests.contract.graph_writer URL ORGANISATION PREFIX

Says that it is ready, and begins when its input ends.
"""

import asyncio
import sys
from uuid import UUID

from shared.data_access.graph.bolt import BoltGraph
from shared.data_access.ports import Edge

LABELS = 4


async def write(url: str, org_id: UUID, prefix: str) -> None:
    graph = BoltGraph(url)
    try:
        await graph.ping()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await asyncio.gather(*(graph.upsert_edges(org_id, edges(prefix, n)) for n in range(LABELS)))
    finally:
        await graph.close()


def edges(prefix: str, number: int) -> list[Edge]:
    """From things of a label of its own to those of the next one, so that labels are shared."""
    source, target = f"{prefix}{number}", f"{prefix}{(number + 1) % LABELS}"
    return [Edge(f"{prefix}E{number}", (source, "hub"), (target, f"n{n}")) for n in range(5)]


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], UUID(sys.argv[2]), sys.argv[3]))
