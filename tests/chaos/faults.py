"""What a drill does to the platform. Each returns the fault's own length in seconds.

That is how long it would have been an outage whatever we did: while a process stands still, while
a database recovers. To notice it and to start again is the platform's part, and counts as none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil

from tests.chaos.site import Site, send

Fault = Callable[[Site], Awaitable[float]]


# Processes.


async def kill_service(site: Site, name: str) -> float:
    """kill -9 of a supervised process; over once another answers."""
    pid = site.service(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    await site.serves_again(name, pid)
    return 0.0


async def kill_worker(site: Site) -> float:
    """kill -9 of one of several gateway workers."""
    worker, *others = site.gateway_workers()
    before = {worker.pid, *(one.pid for one in others)}
    worker.kill()
    await site.until(
        lambda: {one.pid for one in site.gateway_workers()} - before != set(), 60, "a new worker"
    )
    return 0.0


async def stop_service(site: Site, name: str, seconds: float) -> float:
    """SIGSTOP of a process and its children, then SIGCONT."""
    main = psutil.Process(site.service(name)["pid"])
    return await stand_still([main, *main.children(recursive=True)], seconds)


async def stop_worker(site: Site, seconds: float) -> float:
    return await stand_still(site.gateway_workers()[:1], seconds)


async def stop_store(site: Site, name: str, seconds: float) -> float:
    return await stand_still(site.store_processes(name), seconds)


async def stand_still(processes: list[psutil.Process], seconds: float) -> float:
    began = time.monotonic()
    send(processes, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        send(processes, signal.SIGCONT)
    return time.monotonic() - began


# PostgreSQL.


async def end_postgres(site: Site, number: signal.Signals) -> float:
    """Kill or stop the postmaster; its length is that of the new one's recovery."""
    before = site.store_pid("postgres")
    os.kill(before, number)
    await site.until(lambda: site.store_pid("postgres") != before, 90, "PostgreSQL starts")
    started = psutil.Process(site.store_pid("postgres")).create_time()
    await site.database_answers()
    return time.time() - started


async def kill_backend(site: Site) -> float:
    """kill -9 of one connection's process: PostgreSQL throws all out and recovers."""
    _, *children = site.store_processes("postgres")
    began = time.monotonic()
    next(one for one in children if "looma" in " ".join(one.cmdline())).kill()
    await asyncio.sleep(0.05)
    await site.database_answers()
    return time.monotonic() - began


async def terminate_connections(site: Site) -> float:
    """Every pooled connection of every service is dead at once."""
    await site.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    return 0.0


# Redis.


async def kill_store(site: Site, name: str) -> float:
    before = site.store_pid(name)
    os.kill(before, signal.SIGKILL)
    await site.until(lambda: site.store_pid(name) != before, 90, f"{name} starts")
    return 0.0


async def flush_redis(site: Site) -> float:
    async with site.redis() as client:
        await client.flushall()
    return 0.0


async def drop_redis_clients(site: Site) -> float:
    async with site.redis() as client:
        for kind in ("normal", "pubsub"):
            await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    return 0.0


async def read_only_redis(site: Site, seconds: float) -> float:
    """A Redis that was demoted: a replica of a primary that isn't there."""
    began = time.monotonic()
    async with site.redis() as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            await asyncio.sleep(seconds)
        finally:
            await client.execute_command("REPLICAOF", "NO", "ONE")
    return time.monotonic() - began


def of(fault: Callable[..., Awaitable[float]], *args: object) -> Fault:
    """The fault with all that it needs but the site."""

    async def strike(site: Site) -> float:
        return await fault(site, *args)

    return strike


# A PostgreSQL elsewhere.


async def fail_over(site: Site) -> float:
    """The primary dies; some seconds later its standby is promoted under the same address."""
    assert site.pair is not None
    began = time.monotonic()
    await site.pair.fail_over()
    return time.monotonic() - began


async def cut_network(site: Site, seconds: float) -> float:
    """Connections are reset and new ones refused."""
    assert site.pair is not None
    began = time.monotonic()
    await site.pair.proxy.cut()
    await asyncio.sleep(seconds)
    await site.pair.proxy.start()
    return time.monotonic() - began


async def freeze_network(site: Site, seconds: float) -> float:
    """Connections stay, and nothing passes through them."""
    assert site.pair is not None
    began = time.monotonic()
    site.pair.proxy.freeze()
    await asyncio.sleep(seconds)
    site.pair.proxy.thaw()
    return time.monotonic() - began
